"""Lifecycle against a plain count, in periods of a zone whose clocks change."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.transforms.visits import NOON, built, said
from transforms.definitions import Definitions, Lifecycle, Site

ZONE = ZoneInfo("Europe/Amsterdam")
SITE = Site(timezone=ZONE.key)
BEGIN = datetime(2026, 3, 26, 21, 30)  # the clocks go forward three days later


def start(day: date, period: str) -> date:
    if period == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if period == "week" else day


def following(day: date, period: str) -> date:
    return start(day + timedelta(days={"day": 1, "week": 7, "month": 31}[period]), period)


def over(day: date, period: str) -> datetime:
    end = following(day, period)
    return datetime(end.year, end.month, end.day, tzinfo=ZONE).astimezone(UTC).replace(tzinfo=None)


def naive(active: dict[str, set[date]], horizon: datetime) -> dict[tuple[Any, ...], Any]:
    """Period by period and person by person, straight from the words."""
    found: dict[tuple[Any, ...], Any] = {}
    first = min(day for days in active.values() for day in days)
    last = max(*(day for days in active.values() for day in days), horizon.replace(tzinfo=UTC).astimezone(ZONE).date())
    for period in ("day", "week", "month"):
        at, before = start(first, period), date.min
        while at <= last:
            counts = dict.fromkeys(("new", "returning", "resurrecting", "dormant"), 0)
            for days in active.values():
                periods = {start(day, period) for day in days}
                if at in periods and not any(each < at for each in periods):
                    counts["new"] += 1
                elif at in periods:
                    counts["returning" if before in periods else "resurrecting"] += 1
                elif before in periods:
                    counts["dormant"] += 1
            for state, n in counts.items():
                is_known = state != "dormant" or over(at, period) <= horizon
                found[period, at, state] = n if is_known else None
            at, before = following(at, period), at
    return found


@pytest.mark.parametrize("seed", range(4))
def test_states_are_those_of_a_plain_count(seed: int) -> None:
    told = random.Random(seed)
    events, active = [], {}
    for _ in range(60):
        device, at_h = f"d{told.randrange(5)}", told.choice((told.randrange(40 * 24), told.randrange(4 * 24)))
        name = told.choice(("Bought", "Seen", "Engaged"))
        at = BEGIN + timedelta(hours=at_h)
        events.append(said(name, 0, occurred_at=at, anonymous_id=device, received_at=at))
        if name == "Bought" or (name == "Seen" and seed % 2 == 0):
            active.setdefault(device, set()).add(at.replace(tzinfo=UTC).astimezone(ZONE).date())
    horizon = BEGIN + timedelta(days=told.randrange(38, 50), hours=told.randrange(24))
    counted = Lifecycle() if seed % 2 == 0 else Lifecycle(("Bou*",))
    warehouse = built(*events, definitions=Definitions(site=SITE, lifecycle=counted), at=horizon)
    rows = warehouse.execute("select period, period_start, state, person_n from marts.lifecycle where person_n <> 0")
    expected = {key: n for key, n in naive(active, horizon).items() if n}
    assert {row[:3]: row[3] for row in rows} == expected
    unknown = warehouse.execute("select period, period_start, state from marts.lifecycle where person_n is null")
    # The grid begins with the first event, whatever it was.
    assert set(unknown) == {key for key, n in naive(active, horizon).items() if n is None}


def test_an_id_for_a_day_and_a_program_are_in_no_state() -> None:
    bot = {"ua": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
    warehouse = built(
        said("page", 0),
        said("page", 0, anonymous_id="x", id_kind="daily"),
        said("page", 0, anonymous_id="y", window=bot),
    )
    assert warehouse.value("select sum(person_n) from marts.lifecycle where state <> 'dormant' and period = 'day'") == 1


def test_a_person_is_dormant_once_and_comes_back() -> None:
    warehouse = built(said("page", 0), at=NOON + timedelta(days=4))
    query = "select state from marts.lifecycle where period = 'day' and person_n > 0 order by period_start"
    assert [row[0] for row in warehouse.execute(query)] == ["new", "dormant"]
    built(said("page", 3 * 86_400), at=NOON + timedelta(days=5), into=warehouse)
    assert [row[0] for row in warehouse.execute(query)] == ["new", "dormant", "resurrecting", "dormant"]
