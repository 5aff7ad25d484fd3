"""From when on a device is placed again: not before what a new event can change."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from tests.transforms.histories import DEFINITIONS, EVENTS, START, Told, land, warehouse_in_memory
from transforms.flow import build
from warehouse import Warehouse

KEY = b"k" * 32
PAGE = len(EVENTS)
DAY = 24 * 60  # minutes


def page(number: int, minute: int, user: int | None = None, device: int = 0) -> Told:
    # Numbers that leave everything out that histories vary by number: campaign, click, hint.
    return Told(number * 4620, device, user, minute, PAGE, 0, 0, 0, None, "local")


def since(warehouse: Warehouse, before: list[Told], new: list[Told]) -> int:
    """Build `before`, then `new`: from which minute on the device of the first new event was placed again."""
    for batch in (before, new):
        land(warehouse, batch, START + timedelta(days=9))
        build(warehouse, DEFINITIONS, key=KEY, now=START)
    at: datetime = warehouse.value(
        "select since from touched_devices where key = (select device_id from core.devices where anonymous_id = $id)",
        {"id": f"d{new[0].device}"},
    )
    return round((at - START) / timedelta(minutes=1))


VISITS = [page(1, 0), page(2, 2 * DAY), page(3, 2 * DAY + 20)]


@pytest.mark.parametrize(
    ("new", "minute"),
    [
        pytest.param(page(9, 3 * DAY), 3 * DAY, id="another visit"),
        pytest.param(page(9, 2 * DAY + 40), 2 * DAY, id="the visit before goes on"),
        pytest.param(page(9, DAY), DAY, id="a late event between two visits"),
        pytest.param(page(9, 2 * DAY - 10), 2 * DAY - 10, id="a late event just before a visit"),
        pytest.param(page(9, 5 * DAY + 10, user=1), 2 * DAY, id="a login goes back three days, to a visit's begin"),
        pytest.param(page(9, 4 * DAY, device=1), 4 * DAY, id="another device"),
    ],
)
def test_a_device_is_placed_again_from_what_a_new_event_can_change(new: Told, minute: int) -> None:
    assert since(warehouse_in_memory(), VISITS, [new]) == minute


def test_a_login_reaches_back_to_the_one_before() -> None:
    before = [page(1, 0), page(2, DAY, user=1), page(3, 2 * DAY)]
    assert since(warehouse_in_memory(), before, [page(9, 3 * DAY, user=1)]) == DAY


def test_a_device_that_counts_as_shared_from_now_on_is_placed_again_whole() -> None:
    before = [page(1, 0), page(2, 5 * DAY, user=1), page(3, 6 * DAY, user=2)]
    assert since(warehouse_in_memory(), before, [page(9, 7 * DAY, user=3)]) == 0


def test_a_range_that_is_asked_for_is_placed_again_whole() -> None:
    warehouse = warehouse_in_memory()
    land(warehouse, VISITS, START + timedelta(days=9))
    build(warehouse, DEFINITIONS, key=KEY, now=START)
    build(warehouse, DEFINITIONS, key=KEY, now=START, since=date(2026, 3, 22), until=date(2026, 3, 23))
    assert warehouse.execute("select since from touched_devices") == [(datetime.min,)]
