"""A build that goes on from the last one gives what a build from nothing gives, cell by cell."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.histories import DEFINITIONS, START, Told, events, land, warehouse_in_memory
from transforms.flow import MODELS, build
from warehouse import Warehouse

KEY = b"k" * 32
# Numbers of landing and building differ between the two ways; the events that they name do not.
NUMBERED = {"event_no", "session_no", "view_no", "first_page_no", "unit_id"}


def rows_of(warehouse: Warehouse, table: str) -> list[tuple[Any, ...]]:
    columns = [column for column in warehouse.columns(table) if column not in NUMBERED]
    found = warehouse.execute(f"select {', '.join(columns)} from {table}")
    return sorted((tuple(rounded(value) for value in row) for row in found), key=repr)


def rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value:
        return round(value, 9 - math.floor(math.log10(abs(value))))
    return value


def all_tables() -> list[str]:
    return [table for model in MODELS for table in model.tables]


def assert_same(one: Warehouse, other: Warehouse) -> None:
    for table in all_tables():
        assert rows_of(one, table) == rows_of(other, table), table


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(history=events(), data=st.data())
def test_incremental_equals_full(history: list[Told], data: st.DataObject) -> None:
    order = data.draw(st.permutations(history))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=2)))
    # The clock of landing goes on between the batches, so that windows and sessions end in between.
    hours = sorted(data.draw(st.lists(st.integers(0, 24 * 24), min_size=3, max_size=3)))
    bounds = [0, *cuts, len(order)]
    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    for number, (begin, end) in enumerate(pairwise(bounds)):
        at = START + timedelta(hours=hours[number])
        land(grown, order[begin:end], at)
        build(grown, DEFINITIONS, key=KEY, now=at)
    land(fresh, order, START + timedelta(hours=hours[len(bounds) - 2]))
    build(fresh, DEFINITIONS, key=KEY, now=START)
    assert_same(grown, fresh)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(history=events())
def test_a_full_build_changes_nothing(history: list[Told]) -> None:
    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    at = START + timedelta(days=9)
    for warehouse in (grown, fresh):
        land(warehouse, history, at)
        build(warehouse, DEFINITIONS, key=KEY, now=at)
    build(grown, DEFINITIONS, key=KEY, now=at, full=True)
    assert_same(grown, fresh)
