"""A build that goes on from the last one gives what a build from nothing gives, cell by cell."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.transforms.histories import DEFINITIONS, EVENTS, START, Told, events, land, warehouse_in_memory
from transforms.definitions import Sessions
from transforms.flow import MODELS, build, preview
from warehouse import Warehouse

KEY = b"k" * 32
# Numbers of landing and building differ between the two ways; the events that they name do not.
NUMBERED = {"event_no", "session_no", "first_page_no", "unit_id"}


def rows_of(warehouse: Warehouse, table: str) -> list[tuple[Any, ...]]:
    columns = [column for column in warehouse.columns(table) if column not in NUMBERED]
    found = warehouse.execute(f"select {', '.join(columns)} from {table}")
    return sorted(found, key=lambda row: repr([f"{value:.5g}" if isinstance(value, float) else value for value in row]))


def is_same(one: Any, other: Any) -> bool:
    """Equal; sums of floats may differ in their last digits."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def all_tables() -> list[str]:
    return [table for model in MODELS for table in model.tables]


def assert_same(one: Warehouse, other: Warehouse) -> None:
    for table in all_tables():
        rows, others = rows_of(one, table), rows_of(other, table)
        assert len(rows) == len(others), table
        for row, told in zip(rows, others, strict=True):
            assert all(map(is_same, row, told)), (table, row, told)


@pytest.mark.timeout(900)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
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


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(history=events())
def test_a_full_build_changes_nothing(history: list[Told]) -> None:
    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    at = START + timedelta(days=9)
    for warehouse in (grown, fresh):
        land(warehouse, history, at)
        build(warehouse, DEFINITIONS, key=KEY, now=at)
    build(grown, DEFINITIONS, key=KEY, now=at, full=True)
    assert_same(grown, fresh)


class Killed(Exception):
    """What a build meets in the middle."""


@pytest.mark.timeout(900)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(history=events(), data=st.data())
def test_an_interrupted_build_goes_on_where_it_stopped(history: list[Told], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(history)))
    stop_at = data.draw(st.sampled_from([model.name for model in MODELS]))
    at = START + timedelta(days=9)

    def interrupt(model: str, *_: int) -> None:
        if model == stop_at:
            raise Killed

    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    land(grown, history[:cut], at)
    build(grown, DEFINITIONS, key=KEY, now=at)
    land(grown, history[cut:], at)
    with suppress(Killed):
        build(grown, DEFINITIONS, key=KEY, now=at, progress=interrupt)
    # It is finished by its own plan; what landed meanwhile waits for the next one.
    build(grown, DEFINITIONS, key=KEY, now=at)
    build(grown, DEFINITIONS, key=KEY, now=at)
    land(fresh, history, at)
    build(fresh, DEFINITIONS, key=KEY, now=at)
    assert_same(grown, fresh)
    assert grown.value("select count(*) from meta.dirty") == 0


def test_a_changed_definition_restates_its_model_and_those_that_need_it() -> None:
    warehouse = warehouse_in_memory()
    told = Told(1, 0, None, 600, len(EVENTS), 0, 0, 1, None, "local")
    land(warehouse, [told, replace(told, number=2, minute=600 + 45)], START + timedelta(days=9))
    build(warehouse, DEFINITIONS, key=KEY, now=START)
    assert warehouse.value("select count(*) from core.sessions") == 2
    longer = structs.replace(DEFINITIONS, sessions=Sessions(gap_us=3_600_000_000))
    build(warehouse, longer, key=KEY, now=START)
    assert warehouse.value("select count(*) from core.sessions") == 1
    assert warehouse.value("select sum(session_n)::int from marts.traffic_daily") == 1
    whole = "select model from meta.steps where build_id = 2 and is_whole order by model"
    assert "events" not in [row[0] for row in warehouse.execute(whole)]
    assert build(warehouse, longer, key=KEY, now=START).models == ()  # type: ignore[union-attr]


def test_nothing_landed_is_nothing_to_build() -> None:
    assert build(warehouse_in_memory(), DEFINITIONS, key=KEY, now=START) is None


def test_a_preview_changes_nothing_and_names_the_dates() -> None:
    warehouse = warehouse_in_memory()
    land(warehouse, [Told(1, 0, None, 600, 0, 0, 0, 1, None, "local")], START + timedelta(days=9))
    found = preview(warehouse, DEFINITIONS, key=KEY, now=START)
    assert found is not None
    assert (found.events_n, [str(day) for day in found.dates]) == (1, ["2026-03-21"])
    assert warehouse.value("select count(*) from meta.builds") == 0
    assert warehouse.value("select count(*) from core.events") == 0
