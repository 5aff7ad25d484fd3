"""A build that goes on from the last one gives what a build from nothing gives, cell by cell."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.transforms.histories import DEFINITIONS, EVENTS, START, Said, Told, events, land, warehouse_in_memory
from transforms.definitions import DAY_US, Definitions, Funnel, Identity, Journey, Retention, Sessions, Step
from transforms.flow import MODELS, build, preview
from warehouse import Warehouse, tables

KEY = b"k" * 32
HOUR_US = 3_600_000_000
LONG_RUNS = Sessions(gap_us=5 * HOUR_US, cap_us=6 * HOUR_US)
EVERY_CUT = Sessions(cut_at_midnight=True, cut_on_client_id=True, cut_on_campaign=True, cut_on_user_change=True)
# Numbers of landing and building differ between the two ways; the events that they name do not.
NUMBERED = {"event_no", "session_no", "view_no", "page_no", "first_page_no", "unit_id"}


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
    definitions = structs.replace(
        DEFINITIONS,
        sessions=data.draw(st.sampled_from((Sessions(), EVERY_CUT, LONG_RUNS))),
        identity=data.draw(st.sampled_from((DEFINITIONS.identity, Identity(stitch_us=0), Identity(stitch_us=HOUR_US)))),
    )
    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    for number, (begin, end) in enumerate(pairwise(bounds)):
        at = START + timedelta(hours=hours[number])
        land(grown, order[begin:end], at)
        build(grown, definitions, key=KEY, now=at)
    land(fresh, order, START + timedelta(hours=hours[len(bounds) - 2]))
    build(fresh, definitions, key=KEY, now=START)
    assert_same(grown, fresh)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(history=events(), data=st.data())
def test_building_in_shards_changes_nothing(history: list[Told], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(history)))
    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    at = START + timedelta(days=9)
    land(fresh, history, at)
    build(fresh, DEFINITIONS, key=KEY, now=at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.run.SHARD_EVENTS", 20)
        for batch in (history[:cut], history[cut:]):
            land(grown, batch, at)
            build(grown, DEFINITIONS, key=KEY, now=at)
        assert_same(grown, fresh)
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


def grown_and_fresh(definitions: Definitions, batches: list[tuple[list[Said], timedelta]]) -> tuple[Warehouse, ...]:
    """The same events built batch by batch, and at once at the end."""
    grown, fresh = warehouse_in_memory(), warehouse_in_memory()
    for batch, after in batches:
        land(grown, batch, START + after)
        build(grown, definitions, key=KEY, now=START)
    land(fresh, [said for batch, _ in batches for said in batch], START + batches[-1][1])
    build(fresh, definitions, key=KEY, now=START)
    return grown, fresh


def track(number: int, minute: int, name: str, **columns: Any) -> Said:
    return Said(number, minute, {"type": "track", "name": name, **columns})


def test_a_late_page_gives_its_channel_to_all_persons_of_the_session() -> None:
    steps = Step(event="A"), Step(event="B")
    definitions = Definitions(
        funnels=(Funnel("f", steps, breakdown="channel"),),
        retentions=(Retention("r", steps[0], steps[0], intervals=1, breakdown="channel"),),
    )
    early = [
        track(1, 0, "A", user_id="u1"),
        Said(2, 5, {"user_id": "u2", "referrer": "https://www.google.com/"}),
        track(3, 6, "B", user_id="u3"),
    ]
    late = Said(4, 1, {"user_id": "u2", "context": '{"campaign": {"source": "news", "medium": "email"}}'})
    grown, fresh = grown_and_fresh(definitions, [(early, timedelta(days=9)), ([late], timedelta(days=9))])
    assert_same(grown, fresh)
    assert grown.execute("select breakdown_value from marts.funnel_attempts") == [("Email",)]


def test_time_begins_attempts_at_any_step_of_a_funnel_without_order() -> None:
    funnel = Funnel("f", (Step(event="A"), Step(event="B")), order="any", entry_period="all", window_us=DAY_US)
    first, later = track(1, 0, "B"), Said(2, 60, {"anonymous_id": "another"})
    grown, fresh = grown_and_fresh(
        Definitions(funnels=(funnel,)), [([first], timedelta(hours=2)), ([later], timedelta(days=4))]
    )
    assert_same(grown, fresh)
    assert grown.value("select count(*) from marts.funnel_attempts") == 1


@pytest.mark.parametrize("name", ["Order Completed", "Order Refunded"])
def test_an_amount_beyond_all_money_is_unknown_and_stops_nothing(name: str) -> None:
    warehouse = warehouse_in_memory()
    amounts = '{"order_id": "1", "total": 99999999999999, "tax": -99999999999999, "discount": 1}'
    land(warehouse, [track(1, 0, name, properties=amounts)], START + timedelta(days=1))
    build(warehouse, Definitions(), key=KEY, now=START)
    amount = "(select revenue_amt from core.orders union all select refund_amt from core.refunds)"
    assert warehouse.execute(f"select * from {amount}") == [(None,)]


@pytest.mark.parametrize("value", ['"NaN"', '"Infinity"', "-5"])
def test_engaged_time_that_is_no_time_is_unknown(value: str) -> None:
    warehouse = warehouse_in_memory()
    engaged = track(2, 1, "Engaged", properties=f'{{"engaged_ms": {value}}}')
    land(warehouse, [Said(1, 0, {}), engaged], START + timedelta(days=1))
    build(warehouse, Definitions(), key=KEY, now=START)
    assert warehouse.value("select engaged_visible_ms from core.sessions") is None


def test_a_page_without_a_path_that_is_listed_as_an_event_is_a_node_by_its_name() -> None:
    warehouse = warehouse_in_memory()
    screen = Said(1, 0, {"type": "screen", "name": "Start", "url": None})
    land(warehouse, [screen], START + timedelta(days=1))
    build(warehouse, Definitions(journeys=(Journey("j", events=("*",)),)), key=KEY, now=START)
    assert warehouse.value("select path from marts.journey_paths") == "Start"


@pytest.mark.parametrize("name", ['a"b', "a\\", "a.b", "a/b", "a~1b", "$"])
def test_a_property_may_have_any_name(name: str) -> None:
    warehouse = warehouse_in_memory()
    funnel = Funnel("f", (Step(event="A", where={name: 7}), Step(event="B")))
    land(warehouse, [track(1, 0, "A", properties=json.dumps({name: 7}))], START + timedelta(days=1))
    build(warehouse, Definitions(funnels=(funnel,)), key=KEY, now=START)
    assert warehouse.value("select count(*) from marts.funnel_attempts") == 1


def test_a_full_build_after_an_interrupted_one_is_full() -> None:
    warehouse = warehouse_in_memory()
    land(warehouse, [Said(1, 0, {})], START + timedelta(days=1))

    def interrupt(model: str, *_: int) -> None:
        if model == "orders":
            raise Killed

    with suppress(Killed):
        build(warehouse, DEFINITIONS, key=KEY, now=START, progress=interrupt)
    build(warehouse, DEFINITIONS, key=KEY, now=START, full=True)
    assert warehouse.execute("select is_full from meta.builds order by build_id") == [(False,), (True,)]


def test_key_events_are_globs() -> None:
    warehouse = warehouse_in_memory()
    told = [Told(number, 0, None, 600 + number, kind, 0, 0, 1, None, "local") for number, kind in enumerate((2, 3, 0))]
    land(warehouse, told, START + timedelta(days=9))
    globs = structs.replace(DEFINITIONS, site=structs.replace(DEFINITIONS.site, key_events=("Order *",)))
    build(warehouse, globs, key=KEY, now=START)
    assert warehouse.value("select key_event_n from core.sessions") == 2


# Facts of one person, device or visit: the shards' rows are the whole's. Not what the first date of all data, or an
# order id that several persons may send, decides.
FACTS = (
    *("core.placements", "core.sessions", "core.identities", "core.visitor_days", "core.page_views", "core.friction"),
    *("marts.retention_entries", "marts.lifecycle_states"),
)
ATTEMPTS = "select * exclude (unit_id) from marts.funnel_attempts where funnel <> 'ever'"
KEYS = frozenset(
    "source date channel device country is_bot journey step_no from_node to_node path period period_start state "
    "viewport_band layer kind x_bin y_bin depth_band bot_kind".split()
)
CELLS = {
    "marts.traffic_daily": "visitor_n + new_visitor_n + session_n + page_view_n + engaged_session_n + bounce_n",
    "marts.journey_edges": "unit_n",
    "marts.journey_paths": "unit_n + conversion_n",
    "marts.lifecycle": "person_n",
    "marts.heatmap_cells": "raw_n + session_n",
    "marts.scroll_reach": "view_n + reached_n",
    "marts.bots_daily": "session_n",
}


def test_persons_in_four_shards_add_up_to_all_of_them() -> None:
    draw = random.Random(6)
    history = [
        Told(
            number=number,
            # Persons 0 to 9 with up to two devices and one login each, so that none shares a device.
            device=(person := draw.randrange(10)) * 2 + draw.randrange(2),
            user=draw.choice((None, None, None, person)),
            minute=draw.choice((draw.randrange(240), draw.randrange(16 * 24) * 60, draw.randrange(16 * 24 * 60))),
            kind=draw.randrange(len(EVENTS) + 5),
            path=draw.randrange(5),
            agent=draw.choice((0,) * 12 + (1,)),
            referrer=draw.randrange(4),
            seq=draw.choice((None, 1, 2)),
            id_kind=draw.choice(("local",) * 9 + ("daily",)),
        )
        for number in range(160)
    ]
    at = START + timedelta(days=20)

    def built(batch: list[Told]) -> Warehouse:
        warehouse = warehouse_in_memory()
        land(warehouse, batch, at)
        build(warehouse, DEFINITIONS, key=KEY, now=at)
        return warehouse

    whole = built(history)
    shards = [built([told for told in history if (told.device or 0) // 2 % 4 == shard]) for shard in range(4)]
    for table in FACTS:
        rows = sorted((row for shard in shards for row in rows_of(shard, table)), key=repr)
        assert rows == sorted(rows_of(whole, table), key=repr), table
    attempts = sorted((row for shard in shards for row in shard.execute(ATTEMPTS)), key=repr)
    assert attempts == sorted(whole.execute(ATTEMPTS), key=repr)
    for table, number in CELLS.items():
        keys = [column.name for column in tables()[table].columns if column.name in KEYS]
        query = f"select {', '.join(keys)}, sum({number}) from {table} group by all having sum({number}) > 0"
        added: Counter[Any] = Counter()
        for shard in shards:
            added.update({row[:-1]: row[-1] for row in shard.execute(query)})
        assert added == {row[:-1]: row[-1] for row in whole.execute(query)}, table
