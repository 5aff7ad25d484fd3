"""Cases of single tables as data: a folder <table>/<case> holds given_<table>.csv files, values.json and expect.csv.

The given tables are filled, the table's own query runs, and its rows must hold what expect.csv says of its columns.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from transforms import rules
from warehouse import SQL, Warehouse, open_warehouse, tables

FOLDER = Path(__file__).parent
CASES = sorted(path.parent for path in FOLDER.glob("*/*/expect.csv"))


# What a column that must hold something gets where a case leaves it out.
PLAIN = {
    "varchar": "''",
    "boolean": "false",
    "date": "date '2026-01-01'",
    "timestamp": "timestamp '2026-01-01'",
    "json": "'{}'",
}


def value_of(text: Any) -> Any:
    """Durations are written as minutes ("30m"), moments as ISO text with a T."""
    if isinstance(text, str) and text.endswith("m") and text[:-1].isdigit():
        return timedelta(minutes=int(text[:-1]))
    if isinstance(text, str) and len(text) == 19 and text[10] == "T":
        return datetime.fromisoformat(text)
    return text


def fill(warehouse: Warehouse, path: Path) -> None:
    """Fill a table, or make a temp table, from a CSV file; columns that it leaves out get a plain value.

    people_<name> and order_<name> have the columns of core.<name>.
    """
    name = path.stem.removeprefix("given_")
    like = re.sub("^(people|order)_", "core.", name)
    table = tables().get(like)
    if table and like != name:
        warehouse.execute(f"create temp table {name} as from {like} limit 0")
    if table is None:
        warehouse.execute(f"create temp table {name} as select * from read_csv('{path}')")
        return
    header = path.read_text().splitlines()[0].split(",")
    chosen = []
    for column in table.columns:
        kind = column.type.removesuffix(" not null")
        if column.name in header:
            chosen.append(f'cast("{column.name}" as {kind}) as "{column.name}"')
        elif column.type.endswith("not null"):
            chosen.append(f"cast({PLAIN.get(kind, '0')} as {kind}) as {column.name}")
    warehouse.execute(
        f"insert into {name} by name select {', '.join(chosen)} from read_csv('{path}', all_varchar = true)"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_case(case: Path) -> None:
    warehouse = open_warehouse(None, threads=1)
    rules.load(warehouse, SQL / "0_rules")
    for given in sorted(case.glob("given_*.csv")):
        fill(warehouse, given)
    values = case / "values.json"
    bound = {key: value_of(one) for key, one in json.loads(values.read_text()).items()} if values.exists() else {}
    table = tables()[case.parent.name]
    header = (case / "expect.csv").read_text().splitlines()[0].split(",")
    types = {column.name: column.type.removesuffix(" not null") for column in table.columns}
    columns = ", ".join(f"cast({name} as {types[name]}) as {name}" for name in header)
    warehouse.execute(f"create temp table made as {warehouse.query(table.full_name)}", bound)
    made = warehouse.execute(f"select {columns} from made order by all")
    expected = warehouse.execute(
        f"select {columns} from read_csv('{case}/expect.csv', all_varchar = true) order by all"
    )
    assert made == expected
    warehouse.close()
