"""What is published: whole or not at all, readable by older DuckDBs, explained, and free of raw identifiers."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from msgspec import structs

from tests.transforms.histories import DEFINITIONS, EVENTS, START, Said, Told, land
from transforms import publish as publishing
from transforms.definitions import Site
from transforms.flow import build
from transforms.publish import Published, PublishError, publish
from warehouse import Warehouse, open_warehouse

KEY = b"k" * 32
NOW = START + timedelta(days=40)


def told(number: int, day: int, kind: str = "page", device: int = 0, user: int | None = None) -> Told:
    return Told(
        number=number,
        device=device,
        user=user,
        minute=day * 1440 + 600 + number,
        kind=EVENTS.index(kind) if kind in EVENTS else len(EVENTS),
        path=0,
        agent=0,
        referrer=1,
        seq=None,
        id_kind="local",
    )


HISTORY = [
    told(1, 0),
    told(2, 0, "Product Viewed"),
    told(3, 0, "Product Added"),
    told(4, 0, "Order Completed", user=1),
    told(5, 20, device=1),
    told(6, 38, device=1),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    opened = open_warehouse(home / "warehouse.duckdb")
    yield opened
    opened.close()


def grow(warehouse: Warehouse, events: Sequence[Told | Said], at: datetime = NOW) -> None:
    land(warehouse, events, at)
    build(warehouse, DEFINITIONS, key=KEY, now=at)


def put_out(warehouse: Warehouse, home: Path, version: str = "1") -> Published:
    return publish(warehouse, home, DEFINITIONS, events_days=30, version=version, now=NOW)


def read(home: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
        return con.execute(query).fetchall()


def test_nothing_to_publish_is_one_sentence(warehouse: Warehouse, home: Path) -> None:
    with pytest.raises(PublishError, match="footfall build"):
        put_out(warehouse, home)


def test_what_stands_in_the_marts_stands_in_the_file(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    assert put_out(warehouse, home).changed
    for table in ("marts.traffic_totals", "marts.funnel_steps", "marts.retention_cells", "marts.journey_edges"):
        query = f"select * from {table} order by all"
        assert read(home, query) == warehouse.execute(query), table
        assert read(home, f"select count(*) from {table}")[0][0], table


def test_events_of_the_last_days_with_person_and_session(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    rows = read(home, "select event_id, person_id, session_id from core.events order by event_id")
    assert [row[0] for row in rows] == ["e005", "e006"]
    assert all(row[1] is not None and len(str(row[2])) == 32 for row in rows)


@pytest.fixture(params=["a little", "much"])
def a_day_holds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "much":
        monkeypatch.setattr(publishing, "MANY", 1)


@pytest.mark.usefixtures("a_day_holds")
def test_parquet_holds_all_days(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    files = home / "marts" / "core" / "events"
    assert {path.name for path in files.iterdir()} == {"date=2026-03-21", "date=2026-04-10", "date=2026-04-28"}
    with duckdb.connect() as con:
        found = con.execute(f"select count(*), count(distinct event_id) from '{files}/*/*.parquet'").fetchall()
        columns = con.execute(
            f"describe from read_parquet('{files}/*/*.parquet', hive_partitioning = false)"
        ).fetchall()
    assert found == [(6, 6)]
    assert "date" in [column[0] for column in columns]


def test_nothing_happens_when_nothing_changed(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    before = (home / "bi.duckdb").stat().st_mtime_ns
    build(warehouse, DEFINITIONS, key=KEY, now=NOW)
    assert not put_out(warehouse, home).changed
    assert (home / "bi.duckdb").stat().st_mtime_ns == before
    assert put_out(warehouse, home, version="2").changed


@pytest.mark.usefixtures("a_day_holds")
def test_only_parquet_of_changed_dates_is_written(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    days = {path.name: path.stat().st_ino for path in (home / "marts" / "core" / "events").iterdir()}
    grow(warehouse, [told(7, 38, device=1)])
    put_out(warehouse, home)
    after = {path.name: path.stat().st_ino for path in (home / "marts" / "core" / "events").iterdir()}
    assert after["date=2026-03-21"] == days["date=2026-03-21"]
    assert after["date=2026-04-28"] != days["date=2026-04-28"]
    with duckdb.connect() as con:
        found = con.execute(f"select count(*) from '{home}/marts/core/events/date=2026-04-28/*.parquet'").fetchall()
    assert found == [(2,)]


def published(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every published table but those that tell of the builds themselves."""
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
        names = [".".join(row) for row in con.execute("select schema_name, table_name from duckdb_tables()").fetchall()]
        told = [name for name in sorted(names) if not name.startswith("meta.") or name == "meta.data_dictionary"]
        return {name: con.execute(f"select * from {name} order by all").fetchall() for name in told}


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_was_renewed_holds_what_one_made_whole_holds(warehouse: Warehouse, home: Path, seed: int) -> None:
    rng = random.Random(seed)
    history = [
        Told(
            number=number,
            device=rng.choice((None, 0, 1, 2)),
            user=rng.choice((None, None, 0, 1)),
            minute=rng.randrange(9 * 1440),
            kind=rng.randrange(len(EVENTS) + 6),
            path=rng.randrange(5),
            agent=rng.choice((0, 0, 0, 1)),
            referrer=rng.randrange(4),
            seq=None,
            id_kind="local",
        )
        for number in range(80)
    ]
    began = START + timedelta(days=9, hours=4)
    for number in range(4):
        grow(warehouse, history[20 * number : 20 * number + 20], began + timedelta(hours=2 * number))
        inode = (home / "bi.duckdb").stat().st_ino if number else None
        put_out(warehouse, home)
        assert (home / "bi.duckdb").stat().st_ino != inode
    fresh = home / "fresh"
    fresh.mkdir()
    warehouse.execute("delete from meta.publications")
    put_out(warehouse, fresh)
    assert published(home) == published(fresh)


def test_only_changed_dates_are_written_into_the_file(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    whole = put_out(warehouse, home).rows_n
    grow(warehouse, [told(7, 38, device=1)])
    assert put_out(warehouse, home).rows_n < whole
    build(warehouse, DEFINITIONS, key=KEY, now=NOW, full=True)
    assert put_out(warehouse, home).rows_n > whole
    grow(warehouse, [told(8, 38, device=1)], NOW + timedelta(days=1))
    assert put_out(warehouse, home).rows_n > whole


def test_a_damaged_file_is_made_whole(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    (home / "bi.duckdb").write_bytes(b"not a database")
    grow(warehouse, [told(7, 38, device=1)])
    put_out(warehouse, home)
    assert read(home, "select count(*) from core.events") == [(3,)]


def test_a_reader_of_the_old_file_keeps_it(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    reader = (home / "bi.duckdb").open("rb")
    old = reader.read()
    grow(warehouse, [told(8, 39, device=2)])
    put_out(warehouse, home)
    reader.seek(0)
    assert reader.read() == old
    reader.close()
    assert read(home, "select count(*) from core.events") == [(3,)]
    assert [path.name for path in home.glob("bi.duckdb*")] == ["bi.duckdb"]


def test_every_table_and_column_says_what_it_means(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    silent = read(
        home,
        "select table_name, column_name from duckdb_columns() where not internal and comment is null "
        "union all select table_name, '' from duckdb_tables() where comment is null",
    )
    assert silent == []
    missing = read(
        home,
        "select schema_name, table_name, column_name from duckdb_columns() where not internal except "
        "select schema_name, table_name, column_name from meta.data_dictionary where description <> ''",
    )
    assert missing == []
    assert read(home, "select horizon, timezone, version from meta.build_info") == [(NOW, "Europe/Amsterdam", "1")]
    # The history breaks its plan, has no event for some patterns, and nobody in it goes all of some ways.
    assert read(home, "select check_name from meta.quality where not is_ok order by all") == [
        ("definitions that nothing comes of",),
        ("events that break the plan",),
        ("patterns that no event matches",),
    ]


def test_no_raw_identifier_leaves_the_warehouse(warehouse: Warehouse, home: Path) -> None:
    secret = [replace(event, device=4711, user=815) for event in HISTORY]
    grow(warehouse, secret)
    put_out(warehouse, home)
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
        for schema, table in con.execute("select schema_name, table_name from duckdb_tables()").fetchall():
            text = str(con.execute(f"select * from {schema}.{table}").fetchall())
            assert "d4711" not in text, table
            assert "u815" not in text, table


def test_a_changed_complete_number_is_told(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    assert read(home, "select count(*) from meta.restatements") == [(0,)]
    grow(warehouse, [told(9, 0, device=3)])
    put_out(warehouse, home)
    found = read(
        home,
        "select was, now, why from meta.restatements where table_name = 'marts.traffic_totals' "
        "and column_name = 'visitor_n' and key = 'source (all), period day, period_start 2026-03-21, is_bot false'",
    )
    assert found == [(1.0, 2.0, "late events")]


def test_older_duckdb_reads_it(warehouse: Warehouse, home: Path, older_duckdb: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    program = (
        "import duckdb, sys\n"
        "con = duckdb.connect(sys.argv[1], read_only=True)\n"
        "for schema, table in con.execute('select schema_name, table_name from duckdb_tables()').fetchall():\n"
        "    con.execute(f'select * from {schema}.{table}').fetchall()\n"
        "print(con.execute('select count(*) from core.events').fetchone()[0])\n"
        "print(con.execute('select count(*) from duckdb_columns() where comment is not null').fetchone()[0] > 100)\n"
    )
    said = subprocess.run(
        [older_duckdb, "-c", program, home / "bi.duckdb"], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.split() == ["2", "True"]


def test_a_definition_that_is_gone_is_gone_from_what_is_published(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY)
    put_out(warehouse, home)
    fewer = structs.replace(DEFINITIONS, journeys=DEFINITIONS.journeys[:1], funnels=(), retentions=())
    build(warehouse, fewer, key=KEY, now=NOW)
    assert put_out(warehouse, home).changed
    assert read(home, "select distinct journey from marts.journey_paths") == [("from-home",)]
    assert read(home, "select count(*) from marts.funnel_steps") == [(0,)]
    assert not list((home / "marts" / "marts" / "funnel_steps").glob("*"))
    assert not list((home / "marts" / "marts" / "retention_cells").glob("*"))


def test_dates_that_another_time_zone_leaves_empty_have_no_files(warehouse: Warehouse, home: Path) -> None:
    late = Said(1, 60, {})  # 23:00 UTC
    land(warehouse, [late], NOW)
    build(warehouse, structs.replace(DEFINITIONS, site=Site(timezone="UTC")), key=KEY, now=NOW)
    put_out(warehouse, home)
    build(warehouse, DEFINITIONS, key=KEY, now=NOW)
    put_out(warehouse, home)
    for table in ("core/events", "core/sessions", "core/visitor_days"):
        assert [part.name for part in (home / "marts" / table).glob("*")] == ["date=2026-03-21"]


def test_an_order_that_is_no_longer_the_first_is_written_again(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, [told(1, 20, "Order Completed")])
    put_out(warehouse, home)
    grow(warehouse, [told(2, 10, "Order Completed")])
    put_out(warehouse, home)
    files = home / "marts" / "core" / "orders" / "*" / "*.parquet"
    firsts = duckdb.execute(f"select order_id from read_parquet('{files}') where is_first").fetchall()
    assert firsts == [("o2",)]


def test_files_that_somebody_removed_come_back_whole(warehouse: Warehouse, home: Path) -> None:
    grow(warehouse, HISTORY[:5])
    put_out(warehouse, home)
    shutil.rmtree(home / "marts")
    grow(warehouse, HISTORY[5:])
    put_out(warehouse, home)
    dates = len({row[0] for row in warehouse.execute("select date from core.events")})
    assert len(list((home / "marts" / "core" / "events").glob("date=*"))) == dates


def test_the_device_that_an_alias_names_stays_at_home(warehouse: Warehouse, home: Path) -> None:
    properties = '{"previous_id": "secret-device", "plan": "pro"}'
    grow(warehouse, [Said(1, 0, {"type": "alias", "name": "alias", "user_id": "u1", "properties": properties})])
    publish(warehouse, home, DEFINITIONS, events_days=60, version="1", now=NOW)
    assert read(home, "select properties from core.events") == [('{"plan":"pro"}',)]
