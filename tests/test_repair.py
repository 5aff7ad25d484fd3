"""`doctor --repair`: what is damaged is set aside and kept, and what is missing is named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

import config
import steps
from ingest.log import Writer, segments
from repair import repair
from tests.ingest.test_land import event
from warehouse import WarehouseError, open_warehouse

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "footfall.toml").write_text('[[source]]\nname = "web"\norigins = ["*"]\n', encoding="ascii")
    (tmp_path / "secret.key").write_text("ab" * 32, encoding="ascii")
    return tmp_path


def mend(home: Path) -> list[str]:
    return list(repair(home, config.load(home, {}), now=NOW))


def test_a_whole_home_is_left_alone(home: Path) -> None:
    assert mend(home) == []
    open_warehouse(home / "warehouse.duckdb").close()
    assert mend(home) == []
    assert not (home / "set-aside").exists()


def test_a_warehouse_that_was_killed_as_it_was_made_is_made_again(home: Path) -> None:
    path = home / "warehouse.duckdb"
    open_warehouse(path).close()
    for size in (0, 2048, 4096, 10_000):
        path.write_bytes(path.read_bytes()[:size])
        warehouse = open_warehouse(path)
        assert warehouse.value("select count(*) from raw.events") == 0
        warehouse.close()


def test_a_damaged_file_is_no_case_for_a_repair_and_is_left_as_it_is(home: Path) -> None:
    path = home / "warehouse.duckdb"
    open_warehouse(path).close()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(WarehouseError, match=r"cannot be opened: .*put a backup of it back, or move it away"):
        mend(home)
    assert path.read_bytes() == content


def test_what_can_be_read_of_a_damaged_segment_lands_from_the_log_also_with_kafka(home: Path) -> None:
    """The brokers are not there, and need not be."""
    with (home / "footfall.toml").open("a", encoding="ascii") as settings:
        settings.write('[kafka]\nbootstrap = ["127.0.0.1:9"]\n')
    writer = Writer(home / "log", clock=lambda: NOW)
    for number in range(3):
        writer.append([event(f"e{number}")], NOW, NOW)
    writer.close()
    (segment,) = segments(home / "log")
    with closing(sqlite3.connect(segment.path)) as con, con:
        con.execute("update chunks set body = x'00' where sequence = 2")
    open_warehouse(home / "warehouse.duckdb").close()
    said = "\n".join(mend(home))
    assert "Landed 2 events: 2 new" in said
    assert "chunk 2 cannot be read, 1 events" in said
    assert segments(home / "log") == []
    assert (home / "set-aside" / f"{segment.name}.db-20261122T120000").exists()


def test_landing_says_that_the_warehouse_stepped_back(home: Path) -> None:
    writer = Writer(home / "log", clock=lambda: NOW)
    settings = config.load(home, {})
    old = home / "old.duckdb"
    for number in range(2):
        writer.append([event(f"e{number}")], NOW, NOW)
        with steps.opened(home, settings) as warehouse:
            assert "older" not in steps.land(home, settings, warehouse)[1]
            steps.build(home, settings, warehouse)
            steps.publish(home, settings, warehouse)
        if number == 0:
            shutil.copy(home / "warehouse.duckdb", old)
    old.replace(home / "warehouse.duckdb")
    with steps.opened(home, settings) as warehouse:
        changed, said = steps.land(home, settings, warehouse)
    writer.close()
    assert changed
    assert said.startswith("Landed 1 events: 1 new")
    assert "it holds landings up to 1 and builds up to 1, published are 2 and 2" in said
    assert "footfall doctor --repair" in said
    assert any("none is missing" in line for line in mend(home))
    with steps.opened(home, settings) as warehouse:
        assert "older" not in steps.land(home, settings, warehouse)[1]


def test_events_that_only_the_published_file_still_has_are_named_and_kept(home: Path) -> None:
    open_warehouse(home / "warehouse.duckdb").close()
    bi = home / "bi.duckdb"
    with duckdb.connect(str(bi)) as con:
        con.execute("create schema meta")
        con.execute("create schema core")
        con.execute("create table meta.build_info as select 3::bigint as build_id, 9::bigint as landed_to")
        con.execute("create table core.events as select 'web' as source, 'e' || range as event_id from range(25)")
    warehouse = open_warehouse(home / "warehouse.duckdb")
    assert "published are 9 and 3" in (steps.step_back(warehouse, home) or "")
    warehouse.close()
    said = "\n".join(mend(home))
    assert "25 published events are neither in the warehouse nor where it reads from: e0, e1, e10" in said
    assert "and 5 more" in said
    kept = home / "set-aside" / "bi.duckdb-20261122T120000"
    with duckdb.connect(str(kept), read_only=True) as con:
        assert con.execute("select count(*) from core.events").fetchall() == [(25,)]
    assert mend(home) == []
