"""The door to DuckDB: compacting gives bytes back, loses nothing, and nobody goes on in the old file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import weakref
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from warehouse import WarehouseError, open_warehouse

FILL = "create table core.filled as select i, repeat('x' || i, 20) as text from range(400000) as r(i)"
COLUMNS = "select table_name, column_name, data_type, is_nullable from information_schema.columns order by all"
SUM = "select count(*), sum(i), sum(length(text)) from core.filled"


def half_empty(path: Path) -> list[object]:
    warehouse = open_warehouse(path)
    try:
        warehouse.execute(FILL)
        warehouse.checkpoint()
        warehouse.execute("delete from core.filled where i > 40000")
        warehouse.checkpoint()
        assert warehouse.free_share() > 0.25
        return warehouse.execute(SUM)
    finally:
        warehouse.close()


def test_compacting_gives_the_bytes_back_and_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    rows = half_empty(path)
    warehouse = open_warehouse(path)
    columns = warehouse.execute(COLUMNS)
    before, after = warehouse.compact()
    assert after < before * 0.6
    assert path.stat().st_size == after
    with pytest.raises(WarehouseError):
        open_warehouse(None).compact()
    warehouse = open_warehouse(path)
    assert warehouse.execute(SUM) == rows
    assert warehouse.free_share() < 0.25
    assert warehouse.execute(COLUMNS) == columns
    warehouse.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["warehouse.duckdb"]


def test_a_compaction_that_is_killed_anywhere_leaves_a_whole_warehouse(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    rows = half_empty(path)
    script = "import sys, pathlib, warehouse; warehouse.open_warehouse(pathlib.Path(sys.argv[1])).compact()"
    chance = random.Random(5)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[1])
        time.sleep(chance.uniform(0.4, 1.6))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        warehouse = open_warehouse(path, wait_s=5)
        assert warehouse.execute(SUM) == rows
        warehouse.close()


def test_who_waits_for_the_warehouse_gets_the_compacted_one(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    half_empty(path)
    script = (
        "import sys, pathlib, warehouse; w = warehouse.open_warehouse(pathlib.Path(sys.argv[1]), wait_s=30)\n"
        "w.execute('insert into core.filled values (-1, null)'); w.checkpoint(); w.close()"
    )
    warehouse = open_warehouse(path)
    waiting = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[1]) for _ in range(3)
    ]
    time.sleep(1)
    warehouse.compact()
    assert [each.wait(40) for each in waiting] == [0, 0, 0]
    warehouse = open_warehouse(path)
    assert warehouse.value("select count(*) from core.filled where i = -1") == 3
    warehouse.close()


def test_a_file_of_an_older_version_gets_the_columns_that_were_added(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    old = open_warehouse(path)
    old.execute("alter table raw.positions drop topic_id")
    old.execute("insert into raw.positions values ('log', 's', 5, null, null, false)")
    old.execute("alter table core.sessions drop event_n")
    old.close()
    new = open_warehouse(path)
    assert new.execute("select part, next_position, topic_id from raw.positions") == [("s", 5, None)]
    assert new.execute("select event_n from core.sessions") == []
    new.execute("alter table raw.positions drop is_done")
    new.close()
    with pytest.raises(WarehouseError, match="was made by another version of footfall: it has no column is_done"):
        open_warehouse(path)


def test_a_frame_is_let_go_of_before_the_transaction_ends() -> None:
    table = pa.table({"n": [1, 2]})
    told = weakref.ref(table)
    with closing(open_warehouse(None)) as warehouse, warehouse.transaction():
        with warehouse.frames(_told=table):
            del table
            assert warehouse.value("select sum(a.n * b.n) from _told as a, _told as b") == 9
        assert told() is None
        assert not warehouse.value("select count(*) from duckdb_views() where view_name = '_told'")
