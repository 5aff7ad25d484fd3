"""What landing promises whatever it reads from: the log and Kafka are held to the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ingest.from_log import FromLog
from ingest.land import Landed, land
from ingest.source import Source
from tests.ingest.test_from_kafka import Topic, assert_covered
from tests.ingest.test_land import START, append, assert_tiled, event, ids, naive_landing, now, reject, stamp
from warehouse import Warehouse, open_warehouse

HOUR = timedelta(hours=1)
BAD = {
    "not utf-8": b'{"event_id":"\xff"}',
    "no utf-8 in a whole event": event("x", name="HERE").replace(b"HERE", b"\xff\xfe"),
    "no utf-8 in its properties": event("x", properties="HERE").replace(b"HERE", b"\xff\xfe"),
    "no json": b"hello",
    "an array": b'["event_id", "source"]',
    "empty object": b"{}",
    "empty line": b"",
    "torn": event("x")[:-9],
    "no source": event("x", source=None),  # type: ignore[arg-type]
    "no event_id": event(None),  # type: ignore[arg-type]
    "time that is none": event("x", occurred_at="yesterday"),
    "month 13": event("x", received_at="2026-13-01T00:00:00.000Z"),
    "seq too large": event("x", seq=10**30),
    "seq that is text": event("x", seq="many"),
    "seq that is a list": event("x", seq=[1]),
    "seq that is a truth": event("x", seq=True),
    "sent_at that is no time": event("x", sent_at="soon"),
    "sent_at that is an object": event("x", sent_at={}),
    "trailing bytes": event("x") + b"}",
    "reason without bytes in base64": b'{"reason":"bad_time","bytes":"%%%"}',
    "reason of a wrong type": b'{"reason":7}',
    "two lines in one": event("x") + event("y"),
    "nested beyond all limits": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "a reason nested beyond all limits": b'{"reason":' * 2000 + b"1" + b"}" * 2000,
}


class Log:
    """The log: each call to `append` writes a segment of its own."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "log"

    def append(self, *chunks: Sequence[bytes], at: datetime = START) -> None:
        append(self._folder, *chunks, at=at)

    def source(self) -> Source:
        return FromLog(self._folder)

    def check(self, warehouse: Warehouse) -> None:
        assert_tiled(warehouse)


class Kafka:
    """A topic of one partition that holds what the forwarder makes of the same chunks."""

    def __init__(self, home: Path, topic: Topic) -> None:
        self._home, self._topic, self._segment_n = home, topic, 0

    def append(self, *chunks: Sequence[bytes], at: datetime = START) -> None:
        self._segment_n += 1
        for sequence, lines in enumerate(chunks, 1):
            for index, line in enumerate(lines):
                headers = {
                    "version": b"1",
                    "segment": b"00000000-%d" % self._segment_n,
                    "sequence": b"%d" % sequence,
                    "index": b"%d" % index,
                }
                self._topic.raw(line, list(headers.items()), at=at)
        self._topic.producer.flush()

    def source(self) -> Source:
        return self._topic.source(self._home)

    def check(self, warehouse: Warehouse) -> None:
        assert_covered(warehouse, self._topic.name)


@pytest.fixture(params=["log", "kafka"])
def make_lane(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Log | Kafka]]:
    """A way into landing, made anew at each call: the log, or a topic."""
    topics: list[Topic] = []

    def made() -> Log | Kafka:
        home = tmp_path / f"lane-{len(list(tmp_path.iterdir()))}"
        home.mkdir()
        if request.param == "log":
            return Log(home)
        topics.append(Topic(request.getfixturevalue("broker")))
        return Kafka(home, topics[-1])

    yield made
    for topic in topics:
        topic.close()


@pytest.fixture
def lane(make_lane: Callable[[], Log | Kafka]) -> Log | Kafka:
    return make_lane()


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    opened = open_warehouse(tmp_path / "warehouse.duckdb")
    yield opened
    opened.close()


def test_events_land_with_all_their_fields(warehouse: Warehouse, lane: Log | Kafka) -> None:
    full = event(
        "e2", user_id="u", session_hint="s", page_view_id="p", seq=7, sent_at=stamp(START), title="Tïtle",
        referrer="r", properties={"price": 12.5, "q": '"reason":'}, traits={"plan": "pro"},
    )  # fmt: skip
    lane.append([event("e1"), full])
    assert land(warehouse, lane.source(), clock=now) == Landed(2, 2, 0, 0, 0, 1)
    at = START.replace(tzinfo=None)
    assert warehouse.execute(
        "select event_no, landing_id, user_id, session_hint, page_view_id, seq, occurred_at, sent_at, received_at, "
        "title, referrer, properties ->> 'price', properties ->> 'q', traits ->> 'plan', context ->> 'ua' "
        "from raw.events where event_id = 'e2'"
    ) == [(2, 1, "u", "s", "p", 7, at, at, at, "Tïtle", "r", "12.5", '"reason":', "pro", "x")]
    lane.check(warehouse)


def test_twice_is_the_same_as_once_and_only_the_clock_moves(warehouse: Warehouse, lane: Log | Kafka) -> None:
    lane.append([event("e1"), reject("bad_time")])
    land(warehouse, lane.source(), clock=now)
    tables = "events", "rejected", "gaps", "landings", "spans"
    before = [warehouse.execute(f"select * from raw.{table}") for table in tables]
    assert land(warehouse, lane.source(), clock=lambda: START + HOUR) == Landed()
    assert [warehouse.execute(f"select * from raw.{table}") for table in tables] == before


def test_later_events_land_in_later_batches(warehouse: Warehouse, lane: Log | Kafka) -> None:
    for number in range(3):
        lane.append([event(f"e{number}"), event("again")])
        assert land(warehouse, lane.source(), clock=now).new_n == 1 + (number == 0)
    assert ids(warehouse) == ["e0", "again", "e1", "e2"]
    assert warehouse.execute("select landing_id, first_event_no, last_event_no from raw.landings order by all") == [
        (1, 1, 2),
        (2, 3, 3),
        (3, 5, 5),
    ]
    lane.check(warehouse)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_line_that_cannot_be_landed_is_a_reject_and_its_neighbours_land(
    warehouse: Warehouse, lane: Log | Kafka, bad: bytes
) -> None:
    """A wrong type too: DuckDB's from_json would take it for absent."""
    lane.append([event("e1", seq=1, sent_at=stamp(START)), bad, event("e2")], [event("e3")])
    assert land(warehouse, lane.source(), clock=now) == Landed(4, 3, 0, 1, 0, 1)
    assert ids(warehouse) == ["e1", "e2", "e3"]
    assert warehouse.execute("select reason, bytes, received_at from raw.rejected") == [
        ("undecodable", bad, START.replace(tzinfo=None))
    ]
    lane.check(warehouse)


def test_many_bad_lines_are_found_in_one_landing(warehouse: Warehouse, lane: Log | Kafka) -> None:
    bad = list(BAD.values()) * 3
    good = [event(f"e{i}") for i in range(len(bad))]
    lane.append([line for pair in zip(good, bad, strict=True) for line in pair])
    assert land(warehouse, lane.source(), clock=now) == Landed(2 * len(bad), len(bad), 0, len(bad), 0, 1)
    lane.check(warehouse)


def test_rejects_of_the_collector_land_with_their_bytes(warehouse: Warehouse, lane: Log | Kafka) -> None:
    lane.append([reject("bad_time", b"\x00\xffraw"), event("e1"), reject("too_deep", b"y" * 100_000)])
    assert land(warehouse, lane.source(), clock=now) == Landed(3, 1, 0, 2, 0, 1)
    assert warehouse.execute("select reason, detail, source, protocol, bytes from raw.rejected order by reason") == [
        ("bad_time", "why", "web", "segment", b"\x00\xffraw"),
        ("too_deep", "why", "web", "segment", b"y" * 65536),
    ]
    lane.check(warehouse)


def test_the_first_landed_payload_stays(warehouse: Warehouse, lane: Log | Kafka) -> None:
    lane.append([event("e1", name="first"), event("e1", name="second")], [event("e1", name="third")])
    assert land(warehouse, lane.source(), clock=now).new_n == 1
    lane.append([event("e1", name="fourth"), event("e1", source="app")], at=START + HOUR)
    landed = land(warehouse, lane.source(), clock=now)
    assert (landed.read_n, landed.new_n, landed.duplicate_n) == (2, 1, 1)
    assert warehouse.execute("select source, name from raw.events order by event_no") == [
        ("web", "first"),
        ("app", "Product Viewed"),
    ]
    lane.check(warehouse)


def test_the_window_is_measured_from_the_copy_that_was_kept(warehouse: Warehouse, lane: Log | Kafka) -> None:
    hours = [0, 72, 72.001, 100, 144.001, 145, -1, -73]
    lane.append([event("e1", at=START + h * HOUR) for h in hours])
    land(warehouse, lane.source(), clock=now)
    kept = [
        row[0].replace(tzinfo=UTC) for row in warehouse.execute("select received_at from raw.events order by event_no")
    ]
    assert [(at - START) / HOUR for at in kept] == pytest.approx([0, 72.001, 145, -73], abs=1e-3)


def test_of_a_key_that_comes_twice_the_first_value_counts(warehouse: Warehouse, lane: Log | Kafka) -> None:
    lane.append([event("x")[:-1] + b',"event_id":"y"}'])
    assert land(warehouse, lane.source(), clock=now).new_n == 1
    assert ids(warehouse) == ["x"]


def test_a_landing_that_fails_keeps_nothing_of_its_batch_and_the_next_goes_on(
    warehouse: Warehouse, lane: Log | Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows and rejects are written when it fails, the positions are not."""
    lane.append([event("e1"), reject("bad_time")])
    land(warehouse, lane.source(), clock=now)
    lane.append([event("e2"), event("e1"), reject("too_deep")])
    execute = warehouse.execute

    def fail(sql: str, values: Any = None) -> list[Any]:
        if "into raw.landings" in sql:
            raise KeyboardInterrupt
        return execute(sql, values)

    with monkeypatch.context() as patch:
        patch.setattr(warehouse, "execute", fail)
        with pytest.raises(KeyboardInterrupt):
            land(warehouse, lane.source(), clock=now)
    assert ids(warehouse) == ["e1"]
    assert warehouse.value("select count(*) from raw.rejected") == 1
    lane.check(warehouse)
    assert land(warehouse, lane.source(), clock=now) == Landed(3, 1, 1, 1, 0, 1)
    assert ids(warehouse) == ["e1", "e2"]
    lane.check(warehouse)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_a_duplicate_does_not_depend_on_the_landings(
    warehouse: Warehouse, make_lane: Callable[[], Log | Kafka], seed: int
) -> None:
    """Receipts step back and forth, payloads differ, the window is two hours."""
    rng, lane = random.Random(seed), make_lane()
    lines = [(rng.choice("abc"), rng.randrange(400), rng.randrange(10)) for _ in range(40)]
    cuts = [0, *sorted(rng.sample(range(1, 40), 3)), 40]
    for begin, end in pairwise(cuts):
        made = [event(e, at=START + timedelta(minutes=minute), seq=payload) for e, minute, payload in lines[begin:end]]
        lane.append(made, at=START + timedelta(seconds=begin))  # segments go by their start
        if rng.random() < 0.7:
            land(warehouse, lane.source(), clock=now, dedup_hours=2)
    land(warehouse, lane.source(), clock=now, dedup_hours=2)
    expected = [(number + 1, lines[number][0], lines[number][2]) for number in naive_landing(lines, 120)]
    assert warehouse.execute("select event_no, event_id, seq from raw.events order by event_no") == expected
    lane.check(warehouse)
