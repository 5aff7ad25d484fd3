"""Local periods end at the first instant of the next local date, also where the clock changes at midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from transforms.periods import instant
from warehouse import open_warehouse


@pytest.mark.parametrize(
    "timezone",
    ["Europe/Amsterdam", "America/Havana", "Atlantic/Azores", "Africa/Cairo", "America/Santiago", "Asia/Beirut"],
)
def test_a_local_date_begins_at_its_first_instant(timezone: str) -> None:
    zone = ZoneInfo(timezone)
    rows = open_warehouse(None).execute(
        f"""
        select cast(day as date), {instant("day")}
        from generate_series(date '2025-01-01', date '2026-12-31', interval 1 day) as days (day)
        """,
        {"timezone": timezone},
    )
    for day, begins_at in rows:
        before, at = ((begins_at - step).replace(tzinfo=UTC) for step in (timedelta(microseconds=1), timedelta(0)))
        assert (before.astimezone(zone).date(), at.astimezone(zone).date()) == (day - timedelta(days=1), day)


def test_the_first_of_two_midnights_begins_the_date() -> None:
    begins_at = open_warehouse(None).value(
        f"select {instant('$day')}", {"timezone": "America/Havana", "day": date(2026, 11, 1)}
    )
    assert begins_at == datetime(2026, 11, 1, 4)
