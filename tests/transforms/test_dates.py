"""Days on which the clocks change: each number stands on its local date, beside an oracle in plain Python."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.transforms.visits import built, said
from transforms.definitions import Definitions, Retention, Sessions, Site, Step

GAP, CAP = timedelta(minutes=30), timedelta(hours=24)
STARTS = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(day.weekday()),
    "month": lambda day: day.replace(day=1),
}
# In Havana the clock goes forward at midnight, so that 0:00 does not exist, and back over it, so that it comes twice.
DAYS = {
    "Europe/Amsterdam": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/Havana": (date(2026, 3, 8), date(2026, 11, 1)),
}


def visits(zone: ZoneInfo, days: tuple[date, ...]) -> dict[str, list[datetime]]:
    """Moments of page views by device, in UTC: around each of the days, many of them near its midnights."""
    rng = random.Random(zone.key)
    made: dict[str, list[datetime]] = {}
    for day in days:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
        for number in range(12):
            at = noon + timedelta(minutes=rng.randrange(-60 * 60, 48 * 60))
            made[f"{day}/{number}"] = [
                at := at + timedelta(minutes=rng.choice((1, 10, 25, 30, 31, 600))) for _ in range(6)
            ]
        # One who goes on for more than a day.
        made[f"{day}/on"] = [noon + timedelta(minutes=29 * step) for step in range(-60, 30)]
    return made


def sessions(moments: list[datetime], zone: ZoneInfo) -> Iterator[tuple[str, list[datetime]]]:
    """The sessions of a device with midnight cuts on: why each began, and its moments."""
    cuts = [0, *(at for at, (one, other) in enumerate(pairwise(moments), 1) if other - one > GAP), len(moments)]
    for first, end in pairwise(cuts):
        run, rule = moments[first:end], "gap"
        is_long, held = run[-1] - run[0] > CAP, [run[0]]
        for one, other in pairwise(run):
            cut = "cap" if is_long and one.date() != other.date() else "midnight" if _differ(one, other, zone) else ""
            if cut:
                yield rule, held
                rule, held = cut, []
            held.append(other)
        yield rule, held


def _differ(one: datetime, other: datetime, zone: ZoneInfo) -> bool:
    return one.astimezone(zone).date() != other.astimezone(zone).date()


@pytest.mark.parametrize("name", DAYS)
def test_numbers_stand_on_their_local_date_where_the_clocks_change(name: str) -> None:
    zone = ZoneInfo(name)
    seen = {device: sorted(moments) for device, moments in visits(zone, DAYS[name]).items()}
    end = max(moments[-1] for moments in seen.values()) + timedelta(days=60)
    warehouse = built(
        *(
            said(
                "page",
                0,
                anonymous_id=device,
                occurred_at=at.replace(tzinfo=None),
                received_at=end.replace(tzinfo=None),
            )
            for device, moments in seen.items()
            for at in moments
        ),
        definitions=Definitions(
            site=Site(timezone=name),
            sessions=Sessions(cut_at_midnight=True),
            retentions=tuple(
                Retention(period, Step(page="*"), Step(page="*"), period=period, intervals=2)
                for period in ("day", "week")
            ),
        ),
        at=end.replace(tzinfo=None),
    )

    def local(at: datetime) -> date:
        return at.astimezone(zone).date()

    dates = warehouse.execute("select p.event_at, p.date from core.placements as p")
    assert all(day == local(at.replace(tzinfo=UTC)) for at, day in dates)

    cut = [each for moments in seen.values() for each in sessions(moments, zone)]
    found = warehouse.execute("select started_at, ended_at, event_n, start_rule::varchar, date from core.sessions")
    assert sorted(found) == sorted(
        (held[0].replace(tzinfo=None), held[-1].replace(tzinfo=None), len(held), rule, local(held[0]))
        for rule, held in cut
    )

    session_n, visitors = Counter[tuple[str, date]](), defaultdict[tuple[str, date], set[str]](set)
    for period, start in STARTS.items():
        session_n.update((period, start(local(held[0]))) for _, held in cut)
        for device, moments in seen.items():
            for at in moments:
                visitors[period, start(local(at))].add(device)
    totals = warehouse.execute(
        "select period, period_start, session_n, visitor_n from marts.traffic_totals "
        "where source = '(all)' and event_n > 0"
    )
    assert {row[:2]: row[2:] for row in totals} == {key: (session_n[key], len(each)) for key, each in visitors.items()}

    cohorts, kept = defaultdict[tuple[str, date], set[str]](set), defaultdict[tuple[str, date, int], set[str]](set)
    for period, days in (("day", 1), ("week", 7)):
        for device, moments in seen.items():
            began = STARTS[period](local(moments[0]))
            cohorts[period, began].add(device)
            for at in moments:
                kept[period, began, (STARTS[period](local(at)) - began).days // days].add(device)
    cells = warehouse.execute(
        "select retention, cohort_start, period_no, cohort_n, retained_n from marts.retention_cells where cohort_n > 0"
    )
    assert len(cells) == 3 * len(cohorts)
    for period, began, index, cohort_n, retained_n in cells:
        assert (cohort_n, retained_n) == (len(cohorts[period, began]), len(kept[period, began, index]))
