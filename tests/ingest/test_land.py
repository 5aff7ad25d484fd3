"""Landing: each line of the log becomes one row, one duplicate or one reject, and it can always go on."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.from_log import FromLog, release
from ingest.land import Landed, LandingRefused, LandingTooLarge, land
from ingest.log import Writer, segments
from ingest.source import Batch
from warehouse import Warehouse, open_warehouse

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def now() -> datetime:
    return START


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(event_id: str, *, at: datetime = START, source: str = "web", **fields: Any) -> bytes:
    canonical = {
        "event_id": event_id,
        "source": source,
        "protocol": "segment",
        "ingest": "live",
        "type": "track",
        "name": "Product Viewed",
        "anonymous_id": "a1",
        "user_id": None,
        "id_kind": "local",
        "session_hint": None,
        "page_view_id": None,
        "seq": None,
        "occurred_at": stamp(at),
        "sent_at": None,
        "received_at": stamp(at),
        "url": "https://shop.example/",
        "referrer": None,
        "title": None,
        "properties": {},
        "traits": {},
        "context": {"ua": "x"},
    }
    return json.dumps({**canonical, **fields}).encode()


def reject(reason: str, content: bytes = b"?") -> bytes:
    fields = {"reason": reason, "detail": "why", "bytes": base64.b64encode(content).decode(), "source": "web"}
    return json.dumps({**fields, "protocol": "segment", "received_at": stamp(START)}).encode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def log(home: Path) -> Path:
    return home / "log"


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    home.mkdir()
    opened = open_warehouse(home / "warehouse.duckdb")
    yield opened
    opened.close()


def append(folder: Path, *chunks: Sequence[bytes], at: datetime = START) -> None:
    """Each call is a writer of its own, which ends cleanly."""
    writer = Writer(folder, clock=lambda: at)
    for lines in chunks:
        writer.append(lines, at, at)
    writer.close()


def ids(warehouse: Warehouse) -> list[str]:
    return [row[0] for row in warehouse.execute("select event_id from raw.events order by event_no")]


def assert_tiled(warehouse: Warehouse) -> None:
    """The conservation law, by queries over the tables alone."""
    assert warehouse.execute("select count(*) from raw.landings where read_n != new_n + duplicate_n + rejected_n") == [
        (0,)
    ]
    assert warehouse.execute(
        "select count(*), count(distinct (topic, part, record_offset, index_in_record)), "
        "count(distinct event_no) from raw.events"
    ) == [(warehouse.value("select coalesce(sum(new_n), 0) from raw.landings"),) * 3]
    assert warehouse.value("select count(*) from raw.rejected") == warehouse.value(
        "select coalesce(sum(rejected_n), 0) from raw.landings"
    )
    assert warehouse.value("select coalesce(sum(read_n), 0) from raw.spans") == warehouse.value(
        "select coalesce(sum(read_n), 0) from raw.landings"
    )
    holes = """
        with spans as (
            select *, coalesce(lag(to_position) over (partition by part order by landing_id), 1) as expected
            from raw.spans
        )
        select * from spans where from_position != expected
    """
    assert warehouse.execute(holes) == []
    ends = """
        select part from raw.positions as p
        where next_position != (
            select coalesce(max(to_position), 1) from raw.spans as s where s.part = p.part
        )
    """
    assert warehouse.execute(ends) == []
    assert warehouse.value("select count(*) - count(distinct (topic, part)) from raw.positions") == 0


def test_events_land_with_their_coordinates_and_all_their_fields(warehouse: Warehouse, log: Path) -> None:
    full = event(
        "e2", user_id="u", session_hint="s", page_view_id="p", seq=7, sent_at=stamp(START), title="Tïtle",
        referrer="r", properties={"price": 12.5, "q": '"reason":'}, traits={"plan": "pro"},
    )  # fmt: skip
    append(log, [event("e1"), full])
    assert land(warehouse, FromLog(log), clock=now) == Landed(2, 2, 0, 0, 0, 1)
    (segment,) = segments(log)
    assert warehouse.execute(
        "select event_no, landing_id, topic, part, record_offset, index_in_record, event_id from raw.events "
        "order by event_no"
    ) == [(1, 1, "log", segment.name, 1, 0, "e1"), (2, 1, "log", segment.name, 1, 1, "e2")]
    at = START.replace(tzinfo=None)
    assert warehouse.execute(
        "select user_id, session_hint, page_view_id, seq, occurred_at, sent_at, received_at, title, "
        "referrer, properties ->> 'price', properties ->> 'q', traits ->> 'plan', context ->> 'ua' "
        "from raw.events where event_id = 'e2'"
    ) == [("u", "s", "p", 7, at, at, at, "Tïtle", "r", "12.5", '"reason":', "pro", "x")]
    assert_tiled(warehouse)


def test_the_id_hash_is_the_one_of_the_semantics(warehouse: Warehouse, log: Path) -> None:
    append(log, [event(f"é{i}", source="wéb") for i in range(50)])
    land(warehouse, FromLog(log), clock=now)
    for event_id, id_hash in warehouse.execute("select event_id, id_hash from raw.events"):
        digest = hashlib.sha256(f"wéb\x1f{event_id}".encode()).digest()
        assert id_hash == int.from_bytes(digest[:8], "big") & (2**63 - 1)


def test_a_live_segment_is_caught_up_and_a_closed_one_is_done(warehouse: Warehouse, log: Path) -> None:
    writer = Writer(log, clock=now)
    writer.append([event("e1")], START, START)
    land(warehouse, FromLog(log), clock=now)
    at = START.replace(tzinfo=None)
    positions = "select next_position, caught_up_at, last_received_at, is_done from raw.positions"
    assert warehouse.execute(positions) == [(2, at, at, False)]
    writer.append([event("e2")], START + HOUR, START + HOUR)
    writer.close()
    land(warehouse, FromLog(log), clock=lambda: START + 2 * HOUR)
    assert warehouse.execute(positions) == [
        (3, (START + 2 * HOUR).replace(tzinfo=None), (START + HOUR).replace(tzinfo=None), True)
    ]
    assert ids(warehouse) == ["e1", "e2"]
    assert_tiled(warehouse)


def test_nothing_at_all_still_moves_the_clock(warehouse: Warehouse, log: Path) -> None:
    assert land(warehouse, FromLog(log), clock=now) == Landed()
    assert warehouse.execute("select landed_at from raw.clock") == [(START.replace(tzinfo=None),)]


def test_a_log_of_nothing_but_bad_lines_is_landed_too(warehouse: Warehouse, log: Path) -> None:
    append(log, [b"broken"] * 1200)
    assert land(warehouse, FromLog(log), clock=now) == Landed(1200, 0, 0, 1200, 0, 1)


def test_the_first_landed_payload_stays(warehouse: Warehouse, log: Path) -> None:
    append(log, [event("e1", name="first"), event("e1", name="second")], [event("e1", name="third")])
    append(log, [event("e1", name="fourth"), event("e1", source="app")], at=START + HOUR)
    assert land(warehouse, FromLog(log), clock=now, batch_events=2) == Landed(5, 2, 3, 0, 0, 3)
    assert warehouse.execute("select source, name from raw.events order by event_no") == [
        ("web", "first"),
        ("app", "Product Viewed"),
    ]
    assert_tiled(warehouse)


def naive_landing(lines: Sequence[tuple[str, int, int]], window: int) -> list[int]:
    """The rule of the semantics in the plainest words: indexes of the lines that become rows."""
    kept: list[int] = []
    for number, (event_id, minute, _) in enumerate(lines):
        if not any(lines[k][0] == event_id and abs(lines[k][1] - minute) <= window for k in kept):
            kept.append(number)
    return kept


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 400), st.integers(0, 9)), max_size=40),
    cuts=st.sets(st.integers(1, 40), max_size=8),
    batch_events=st.integers(1, 50),
    landings=st.integers(1, 3),
)
def test_what_is_a_duplicate_does_not_depend_on_chunks_batches_or_landings(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, int, int]],
    cuts: set[int],
    batch_events: int,
    landings: int,
) -> None:
    """Receipts step back and forth, payloads differ, the window is two hours."""
    home = tmp_path_factory.mktemp("home")
    warehouse = open_warehouse(None)
    writer = Writer(home / "log", clock=now)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]
    pieces = [lines[a:b] for a, b in itertools.pairwise(bounds) if a < b]
    for number, piece in enumerate(pieces):
        made = [event(e, at=START + timedelta(minutes=minute), seq=payload) for e, minute, payload in piece]
        writer.append(made, START, START)
        if number < landings:
            land(warehouse, FromLog(home / "log"), clock=now, dedup_hours=2, batch_events=batch_events)
    writer.close()
    land(warehouse, FromLog(home / "log"), clock=now, dedup_hours=2, batch_events=batch_events)
    expected = [
        (
            number + 1,
            lines[number][0],
            lines[number][2],
            START.replace(tzinfo=None) + timedelta(minutes=lines[number][1]),
        )
        for number in naive_landing(lines, 120)
    ]
    got = warehouse.execute("select event_no, event_id, seq, received_at from raw.events order by event_no")
    assert got == expected
    assert_tiled(warehouse)
    warehouse.close()
    shutil.rmtree(home)


def harm_chunk(folder: Path, sequence: int) -> None:
    (segment,) = segments(folder)
    con = sqlite3.connect(segment.path)
    con.execute("update chunks set body = x'00' where sequence = ?", (sequence,))
    con.commit()
    con.close()


def test_a_damaged_chunk_is_a_gap_and_the_others_land(warehouse: Warehouse, log: Path) -> None:
    append(log, [event("e1")], [event("e2"), event("e3")], [event("e4")])
    harm_chunk(log, 2)
    assert land(warehouse, FromLog(log), clock=now) == Landed(2, 2, 0, 0, 2, 1, 1)
    assert ids(warehouse) == ["e1", "e4"]
    assert warehouse.execute("select from_position, to_position, event_n, cause, noticed_at from raw.gaps") == [
        (2, 3, 2, "damaged", START.replace(tzinfo=None))
    ]
    assert warehouse.execute("select from_position, to_position, read_n, gap_n from raw.spans") == [(1, 4, 2, 2)]
    assert land(warehouse, FromLog(log), clock=now) == Landed()
    assert_tiled(warehouse)


def test_a_segment_that_was_emptied_is_a_gap_once(warehouse: Warehouse, log: Path) -> None:
    append(log, [event("e1")])
    append(log, [event("e2")], at=START + HOUR)
    segments(log)[0].path.write_bytes(b"")
    landed = land(warehouse, FromLog(log), clock=now)
    assert (landed.new_n, ids(warehouse)) == (1, ["e2"])
    assert warehouse.execute("select event_n, cause from raw.gaps") == [(None, "damaged")]
    assert land(warehouse, FromLog(log), clock=now) == Landed()
    assert_tiled(warehouse)


def test_a_segment_that_vanished_is_a_gap_once(warehouse: Warehouse, log: Path) -> None:
    writer = Writer(log, clock=now)
    writer.append([event("e1")], START, START)
    land(warehouse, FromLog(log), clock=now)
    writer.close()
    (segment,) = segments(log)
    segment.path.unlink()
    append(log, [event("e2")], at=START + HOUR)
    assert land(warehouse, FromLog(log), clock=now) == Landed(1, 1, 0, 0, 0, 1, 1)
    assert warehouse.execute("select part, from_position, to_position, event_n, cause from raw.gaps") == [
        (segment.name, 2, 2, None, "lost")
    ]
    assert warehouse.value("select count(*) from raw.positions where not is_done") == 0
    assert land(warehouse, FromLog(log), clock=now) == Landed()
    assert_tiled(warehouse)


def test_of_two_landings_the_one_with_the_old_position_is_refused(warehouse: Warehouse, log: Path, home: Path) -> None:
    """One stops after its first batch, another lands all, the first goes on: no row twice, and no hole."""
    append(log, *[[event(f"e{i}")] for i in range(6)])
    append(log, [event("later")], at=START + HOUR)
    other = open_warehouse(home / "warehouse.duckdb")

    def overtake(done: int, total: int) -> None:
        assert total == 7
        if done == 2:
            assert land(other, FromLog(log), clock=now).new_n == 5

    with pytest.raises(LandingRefused, match="Another landing moved the position"):
        land(warehouse, FromLog(log), clock=now, batch_events=2, progress=overtake)
    other.close()
    assert warehouse.value("select count(*) from raw.events") == 7
    assert_tiled(warehouse)
    assert land(warehouse, FromLog(log), clock=now) == Landed()


def test_a_new_segment_is_begun_by_one_landing_only(warehouse: Warehouse, log: Path, home: Path) -> None:
    append(log, [event("e1")])
    append(log, [event("e2")], at=START + HOUR)
    other = open_warehouse(home / "warehouse.duckdb")

    def overtake(done: int, total: int) -> None:
        if (done, total) == (1, 2):
            land(other, FromLog(log), clock=now)

    with pytest.raises(LandingRefused):
        land(warehouse, FromLog(log), clock=now, batch_events=1, progress=overtake)
    other.close()
    assert_tiled(warehouse)


def test_a_landing_beside_an_unfinished_one_is_refused(warehouse: Warehouse, log: Path, home: Path) -> None:
    append(log, [event("e1")])
    land(warehouse, FromLog(log), clock=now)
    append(log, [event("e2")], at=START + HOUR)
    other = open_warehouse(home / "warehouse.duckdb")
    other.execute("begin")
    other.execute("delete from raw.clock")
    with pytest.raises(LandingRefused, match="Another landing is at work"):
        land(warehouse, FromLog(log), clock=now)
    other.execute("rollback")
    other.close()
    assert land(warehouse, FromLog(log), clock=now).new_n == 1
    assert_tiled(warehouse)


def test_what_is_released_was_landed_closed_old_and_checkpointed(warehouse: Warehouse, log: Path, home: Path) -> None:
    append(log, [event("old")], at=START - 25 * HOUR)
    append(log, [event("young")], at=START - 23 * HOUR)
    living = Writer(log, clock=lambda: START - 30 * HOUR)
    living.append([event("living")], START - 30 * HOUR, START - 30 * HOUR)
    day = timedelta(hours=24)
    assert release(warehouse, log, keep=timedelta(0), now=START) == []
    land(warehouse, FromLog(log), clock=now)
    append(log, [event("not landed")], at=START - 40 * HOUR)
    old = next(segment.name for segment in segments(log) if segment.start_ms == (START - 25 * HOUR).timestamp() * 1000)
    assert release(warehouse, log, keep=day, now=START) == [old]
    assert not list(log.glob(f"{old}*"))
    # The file alone, without its write-ahead file, must answer for what was unlinked.
    shutil.copy(home / "warehouse.duckdb", home / "copy.duckdb")
    copy = open_warehouse(home / "copy.duckdb")
    assert "old" in ids(copy)
    copy.close()
    land(warehouse, FromLog(log), clock=now)
    assert len(release(warehouse, log, keep=timedelta(0), now=START)) == 2
    assert len(segments(log)) == 1
    living.close()
    land(warehouse, FromLog(log), clock=now)
    assert len(release(warehouse, log, keep=timedelta(0), now=START)) == 1
    assert not list(log.iterdir())
    assert warehouse.value("select count(*) from raw.gaps") == 0
    assert_tiled(warehouse)


def test_a_landing_in_small_batches_gives_the_same_rows(home: Path) -> None:
    append(home / "log", *[[event(f"f{i}"), event(f"e{i % 15}", seq=i)] for i in range(20)])
    rows = []
    for batch_events in (1, 7, 1000):
        warehouse = open_warehouse(None)
        landed = land(warehouse, FromLog(home / "log"), clock=now, batch_events=batch_events)
        assert (landed.read_n, landed.new_n, landed.duplicate_n) == (40, 35, 5)
        assert_tiled(warehouse)
        rows.append(warehouse.execute("select * exclude (landing_id) from raw.events order by event_no"))
        warehouse.close()
    assert rows[0] == rows[1] == rows[2]


def test_a_backlog_larger_than_the_memory_lands_in_smaller_batches(home: Path, log: Path) -> None:
    append(log, *[[event(f"e{k}-{i}", title="y" * 20_000) for i in range(20)] for k in range(200)])
    warehouse = open_warehouse(home / "warehouse.duckdb", memory_limit="60MB", threads=1)
    landed = land(warehouse, FromLog(log), clock=now)
    assert (landed.read_n, landed.new_n) == (4000, 4000)
    assert landed.batch_n > 1
    assert_tiled(warehouse)
    warehouse.close()


@pytest.mark.parametrize(
    ("memory_limit", "title_n", "chunk_n", "trouble"),
    [("14MB", 300, 400, duckdb.OutOfMemoryException), ("40MB", 20_000, 80, LandingTooLarge)],
    ids=["while it is read", "in its commit"],
)
def test_a_batch_that_the_memory_does_not_hold_lands_in_halves(
    home: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory_limit: str,
    title_n: int,
    chunk_n: int,
    trouble: type[Exception],
) -> None:
    append(log, *[[event(f"e{k}-{i}", title="y" * title_n) for i in range(50)] for k in range(chunk_n)])
    halve = Batch.halves
    troubles: list[type[BaseException] | None] = []

    def halves(batch: Batch) -> tuple[Batch, Batch] | None:
        troubles.append(sys.exc_info()[0])
        return halve(batch)

    monkeypatch.setattr(Batch, "halves", halves)
    monkeypatch.setattr("ingest.land.MEMORY_SHARE", 1)  # a share that is cut too large, and DuckDB's own limit
    warehouse = open_warehouse(home / "warehouse.duckdb", memory_limit=memory_limit, threads=1)
    landed = land(warehouse, FromLog(log), clock=now)
    assert trouble in troubles
    assert (landed.read_n, landed.new_n) == (50 * chunk_n, 50 * chunk_n)
    assert landed.batch_n > 1
    assert warehouse.value("select count(distinct event_id) from raw.events") == 50 * chunk_n
    assert_tiled(warehouse)
    warehouse.close()
