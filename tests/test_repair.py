"""`doctor --repair`: what is damaged is set aside and kept, and what is missing is named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

import config
from repair import repair, step_back
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


def test_events_that_only_the_published_file_still_has_are_named_and_kept(home: Path) -> None:
    open_warehouse(home / "warehouse.duckdb").close()
    bi = home / "bi.duckdb"
    with duckdb.connect(str(bi)) as con:
        con.execute("create schema meta")
        con.execute("create schema core")
        con.execute("create table meta.build_info as select 3::bigint as build_id, 9::bigint as landed_to")
        con.execute("create table core.events as select 'web' as source, 'e' || range as event_id from range(25)")
    warehouse = open_warehouse(home / "warehouse.duckdb")
    assert "published are 9 and 3" in (step_back(warehouse, home) or "")
    warehouse.close()
    said = "\n".join(mend(home))
    assert "25 published events are neither in the warehouse nor where it reads from: e0, e1, e10" in said
    assert "and 5 more" in said
    kept = home / "set-aside" / "bi.duckdb-20261122T120000"
    with duckdb.connect(str(kept), read_only=True) as con:
        assert con.execute("select count(*) from core.events").fetchall() == [(25,)]
    assert mend(home) == []
