"""Channels: the shipped rules case by case (channel_cases.csv), and what an edit of them does."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import polars as pl
import pytest

from transforms import channels, rules
from warehouse import SQL, Warehouse, open_warehouse

CASES = list(csv.DictReader((Path(__file__).parent / "channel_cases.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def warehouse() -> Warehouse:
    warehouse = open_warehouse(None)
    rules.load(warehouse, SQL / "0_rules")
    return warehouse


def hits(*rows: dict[str, str]) -> pl.DataFrame:
    given = {name: [row.get(name) or None for row in rows] for name in channels.KEYS}
    given["is_own_referrer"] = [row.get("is_own_referrer") == "true" for row in rows]
    return pl.DataFrame(given, schema=channels.KEYS)


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_each_case_falls_in_its_channel(warehouse: Warehouse, case: dict[str, str]) -> None:
    found = channels.group(warehouse, hits(case)).row(0, named=True)
    names = ("traffic_source", "traffic_medium", "channel")
    assert {name: found[name] for name in names} == {name: case[name] for name in names}


def test_the_cases_reach_every_shipped_channel(warehouse: Warehouse) -> None:
    shipped = [row[0] for row in warehouse.execute("select channel from rules.channels order by rank")]
    assert len(shipped) == 20
    assert {case["channel"] for case in CASES} == set(shipped)


def test_rows_come_back_in_order_with_their_columns(warehouse: Warehouse) -> None:
    given = hits(*CASES, *CASES)
    found = channels.group(warehouse, given)
    assert found.select(given.columns).equals(given)
    assert found["channel"].to_list() == [case["channel"] for case in CASES] * 2


def test_no_hits_give_no_rows(warehouse: Warehouse) -> None:
    assert channels.group(warehouse, hits()).is_empty()


def test_without_the_own_referrer_column_every_referrer_counts(warehouse: Warehouse) -> None:
    given = hits({"referrer_host": "shop.example", "is_own_referrer": "true"}).drop("is_own_referrer")
    assert channels.group(warehouse, given)["channel"].item() == "Referral"


def test_an_edited_rule_moves_hits(tmp_path: Path) -> None:
    folder = tmp_path / "0_rules"
    shutil.copytree(SQL / "0_rules", folder)
    warehouse = open_warehouse(None)
    before = rules.load(warehouse, folder)
    case = hits({"utm_source": "partner", "utm_medium": "qr"})
    assert channels.group(warehouse, case)["channel"].item() == "Unassigned"
    file = folder / "channels.csv"
    file.write_text(file.read_text().replace("20,Una", "20,Captain's Table,medium = 'qr'\n21,Una"))
    assert rules.load(warehouse, folder) != before
    assert channels.group(warehouse, case)["channel"].item() == "Captain's Table"
