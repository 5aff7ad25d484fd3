"""Retention cells against a plain count, in random zones, and cases out of the text of A9."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.definitions import Retention, Step
from transforms.retention import ENTRIES, cells, entries, facts_query
from warehouse import Warehouse, open_warehouse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ["UTC", "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia"]


class Fact(NamedTuple):
    person_id: int
    at: datetime  # UTC
    is_start: bool
    is_return: bool
    value: float | None = None
    breakdown: str | None = None


def definition(*, returns: str = "r", **more: Any) -> Retention:
    return Retention(name="r", start=Step(event="s"), returns=Step(event=returns), **more)


def number(day: date, period: str) -> int:
    if period == "month":
        return day.year * 12 + day.month
    days = (day - date(1970, 1, 1)).days
    return days if period == "day" else (days + 3) // 7


def first_day(day: date, period: str) -> date:
    if period == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if period == "week" else day


def frame(warehouse: Warehouse, facts: list[Fact], retention: Retention, zone: ZoneInfo) -> pl.DataFrame:
    """What the kernel walks; facts of one moment are in order as they stand here."""
    period = retention.period
    days = [fact.at.astimezone(zone).date() for fact in facts]
    told = pl.DataFrame(
        {
            "person_id": [fact.person_id for fact in facts],
            "at": [(fact.at - EPOCH) // timedelta(microseconds=1) for fact in facts],
            "period_no_abs": [number(day, period) for day in days],
            "period_start": [first_day(day, period) for day in days],
            "is_start": [fact.is_start for fact in facts],
            "is_return": [fact.is_return for fact in facts],
            "value": [fact.value for fact in facts],
            "breakdown": [fact.breakdown for fact in facts],
        },
        schema={
            "person_id": pl.Int64,
            "at": pl.Int64,
            "period_no_abs": pl.Int64,
            "period_start": pl.Date,
            "is_start": pl.Boolean,
            "is_return": pl.Boolean,
            "value": pl.Float64,
            "breakdown": pl.String,
        },
    ).with_columns(seq=pl.lit(1), event_id=pl.lit("e"), source=pl.lit("web"), event_no=pl.int_range(pl.len()))
    with warehouse.frames(_told=told):
        return warehouse.frame(facts_query("select * from _told", retention))


@pytest.fixture(scope="module")
def warehouse() -> Warehouse:
    return open_warehouse(None)


def published(
    warehouse: Warehouse,
    facts: list[Fact],
    retention: Retention,
    first: date,
    horizon: datetime,
    timezone: str,
) -> list[tuple[Any, ...]]:
    found = entries(frame(warehouse, facts, retention, ZoneInfo(timezone)), retention)
    assert dict(found.schema) == ENTRIES
    grid = cells(retention, first, horizon.replace(tzinfo=None), timezone)
    for table in ("entries", "cells"):
        warehouse.execute(f"delete from marts.retention_{table}")
    warehouse.insert_frame(
        "marts.retention_entries",
        found.with_columns(pl.col("entry_at").cast(pl.Datetime("us")), retention=pl.lit(retention.name)),
    )
    with warehouse.frames(cells=grid):
        warehouse.insert(
            "marts.retention_cells",
            {
                "retention": retention.name,
                "period": retention.period,
                "horizon": horizon.replace(tzinfo=None),
                "min_occurrences": retention.min_occurrences,
                "reference": retention.reference,
            },
        )
    return warehouse.execute(
        "select cohort_start, breakdown_value, period_no, cohort_n, retained_n, retained_pct, value, "
        "is_complete, is_final, is_censored from marts.retention_cells order by 1, 2, 3"
    )


# The oracle: one cohort and cell at a time, over the facts themselves.


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant whose local date is `day` or later, found by stepping through UTC."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    while at.astimezone(zone).date() < day:
        at += timedelta(minutes=30)
    return at


def following(day: date, period: str, count: int) -> date:
    for _ in range(count):
        day = first_day(day + timedelta(days={"day": 1, "week": 7, "month": 31}[period]), period)
    return day


def naive(
    facts: list[Fact], retention: Retention, first: date, horizon: datetime, timezone: str
) -> list[tuple[Any, ...]]:
    zone, period = ZoneInfo(timezone), retention.period
    length = timedelta(hours=24) * {"day": 1, "week": 7, "month": 30}[period]
    local = [fact.at.astimezone(zone).date() for fact in facts]
    ways: dict[date, list[tuple[int, list[tuple[int, Fact]]]]] = {}
    for person in sorted({fact.person_id for fact in facts}):
        mine = [place for place, fact in enumerate(facts) if fact.person_id == person]
        seen: set[date] = set()
        for place in mine:
            cohort = first_day(local[place], period)
            if not facts[place].is_start or cohort in seen or (seen and retention.entry == "first_ever"):
                continue
            seen.add(cohort)
            back = []
            for other in mine:
                if other < place or not facts[other].is_return:
                    continue
                if retention.clock == "calendar":
                    index = number(local[other], period) - number(local[place], period)
                else:
                    index = (facts[other].at - facts[place].at) // length
                back.append((index, facts[other]))
            ways.setdefault(cohort, []).append((place, back))
    last = max(b for _, b in retention.brackets) if retention.mode == "brackets" else retention.intervals
    if retention.mode == "exact":
        ranges = [(k, k) for k in range(last + 1)]
    elif retention.mode == "on_or_after":
        ranges = [(k, last) for k in range(last + 1)]
    else:
        ranges = [(0, 0), *retention.brackets]

    def over(cohort: date, index: int) -> datetime:
        if retention.clock == "calendar":
            return midnight(following(cohort, period, index + 1), zone)
        return midnight(following(cohort, period, 1), zone) + (index + 1) * length

    found: list[tuple[Any, ...]] = []
    cohort = first_day(first, period)
    while cohort <= horizon.astimezone(zone).date():
        groups: dict[str, list[list[tuple[int, Fact]]]] = {}
        for place, back in ways.get(cohort, []):
            value = (facts[place].breakdown or "(none)") if retention.breakdown else "(all)"
            groups.setdefault(value, []).append(back)
        for value, members in sorted((groups or {"(all)": []}).items()):
            before_n: int | None = None
            for cell, (begin, end) in enumerate(ranges):
                inside = [[fact for index, fact in back if begin <= index <= end] for back in members]
                retained_n = sum(len(back) >= retention.min_occurrences for back in inside)
                amount = sum(
                    1.0 if retention.value == "count" else fact.value or 0.0 for back in inside for fact in back
                )
                done = over(cohort, begin if retention.mode == "on_or_after" else end) <= horizon
                base = len(members)
                if retention.reference == "previous" and before_n is not None:
                    base = before_n
                found.append(
                    (
                        cohort,
                        value,
                        cell,
                        len(members),
                        retained_n if done else None,
                        retained_n / base if done and base else None,
                        amount if done else None,
                        done,
                        over(cohort, end) <= horizon,
                        (cohort - first).days < retention.warmup_days,
                    )
                )
                before_n = retained_n
        cohort = following(cohort, period, 1)
    return found


@settings(max_examples=90, deadline=None)
@given(st.data())
def test_cells_equal_plain_count(warehouse: Warehouse, data: st.DataObject) -> None:
    timezone = data.draw(st.sampled_from(ZONES))
    zone = ZoneInfo(timezone)
    # Round a change of the clock, near midnight or not.
    around = data.draw(st.sampled_from([datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 4, 5)]))
    is_same = data.draw(st.booleans())  # what starts is what returns
    minutes = st.integers(-9 * 1440, 40 * 1440) | st.integers(-5, 5).map(lambda day: day * 1440)
    facts = sorted(
        (
            Fact(
                person,
                around.replace(tzinfo=UTC) + timedelta(minutes=data.draw(minutes)),
                is_same or data.draw(st.booleans()),
                is_same or data.draw(st.booleans()),
                data.draw(st.sampled_from([None, 1.5, 4.0])),
                data.draw(st.sampled_from([None, "a", "b"])),
            )
            for person in range(data.draw(st.integers(0, 3)))
            for _ in range(data.draw(st.integers(0, 6)))
        ),
        key=lambda fact: (fact.person_id, fact.at),
    )
    first = min((fact.at.astimezone(zone).date() for fact in facts), default=around.date())
    horizon = around.replace(tzinfo=UTC) + timedelta(minutes=data.draw(st.integers(0, 45 * 1440)))
    period = data.draw(st.sampled_from(["day", "week", "month"]))
    retention = definition(
        returns="s" if is_same else "r",
        period=period,
        intervals=data.draw(st.integers(1, 4)),
        entry=data.draw(st.sampled_from(["first_ever", "recurring"])),
        clock=data.draw(st.sampled_from(["calendar", "rolling_24h"])),
        mode=data.draw(st.sampled_from(["exact", "on_or_after", "brackets"])),
        brackets=data.draw(st.sampled_from([((1, 1), (2, 3)), ((1, 2), (1, 4))])),
        min_occurrences=data.draw(st.integers(1, 2)),
        value=data.draw(st.sampled_from(["count", "sum(price)"])),
        reference=data.draw(st.sampled_from(["total", "previous"])),
        warmup_days=data.draw(st.sampled_from([0, 7, 30])),
        breakdown=data.draw(st.sampled_from([None, "country"])),
    )
    found = published(warehouse, facts, retention, first, horizon, timezone)
    assert found == naive(facts, retention, first, horizon, timezone)


def day(offset: int, hour: int = 12) -> datetime:
    return datetime(2026, 3, 2, hour, tzinfo=UTC) + timedelta(days=offset)  # a Monday


def test_entry_event_counts_itself_and_nothing_before_it_does(warehouse: Warehouse) -> None:
    both = [Fact(1, day(0), False, True), Fact(1, day(1), True, True), Fact(1, day(8), True, True)]
    found = entries(frame(warehouse, both, definition(), ZoneInfo("UTC")), definition())
    assert found.select("period_no", "occurrence_n").rows() == [(-1, 0), (0, 1), (1, 1)]
    # k = 0 is 100 % when start = return.
    rows = published(warehouse, both, definition(), date(2026, 3, 2), day(14), "UTC")
    assert rows[0][3:6] == (1, 1, 1.0)


def test_incomplete_cell_is_null_and_never_zero(warehouse: Warehouse) -> None:
    facts = [Fact(1, day(0), True, False)]
    rows = published(warehouse, facts, definition(intervals=2), date(2026, 3, 2), day(14, 0), "UTC")
    # Weeks 0 and 1 of the first cohort are over at that midnight, its week 2 is not.
    assert [row[3:8] for row in rows[:3]] == [
        (1, 0, 0.0, 0.0, True),
        (1, 0, 0.0, 0.0, True),
        (1, None, None, None, False),
    ]


def test_empty_cohort_has_its_rows_without_rates(warehouse: Warehouse) -> None:
    facts = [Fact(1, day(0), True, False)]
    rows = published(warehouse, facts, definition(intervals=1), date(2026, 3, 2), day(30), "UTC")
    assert [row[:6] for row in rows if row[0] == date(2026, 3, 9)] == [
        (date(2026, 3, 9), "(all)", 0, 0, 0, None),
        (date(2026, 3, 9), "(all)", 1, 0, 0, None),
    ]


def test_on_or_after_is_shown_before_it_is_final(warehouse: Warehouse) -> None:
    facts = [Fact(1, day(0), True, False), Fact(1, day(14), False, True)]
    retention = definition(mode="on_or_after", intervals=3)
    rows = published(warehouse, facts, retention, date(2026, 3, 2), day(21, 0), "UTC")
    # The return in week 2 counts from weeks 0, 1 and 2 on.
    assert [(row[4], row[7], row[8]) for row in rows[:4]] == [
        (1, True, False),
        (1, True, False),
        (1, True, False),
        (None, False, False),
    ]


def test_a_local_day_ends_at_local_midnight_also_when_the_clock_changes() -> None:
    grid = cells(
        definition(period="day", intervals=0),
        date(2026, 3, 29),
        datetime(2026, 3, 29, 12),
        "Europe/Amsterdam",
    )
    assert grid["complete_at"].to_list() == [datetime(2026, 3, 29, 22)]  # 23 hours after 23:00 UTC
