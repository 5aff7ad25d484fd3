"""The demo's days: local dates as numbers, their midnights, and how busy a day and an hour are."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Monday first: people shop on Sunday evening, not on Saturday.
WEEKDAYS = (1.0, 1.02, 1.0, 1.06, 0.94, 0.82, 1.16)
# From 07:00 to 22:00, cumulated.
HOURS = tuple(accumulate((2, 4, 6, 7, 7, 8, 8, 7, 6, 6, 6, 7, 8, 10, 10, 6)))
GROWTH = 0.7
CAMPAIGN_DAY = 62


@dataclass(frozen=True)
class Days:
    """The simulated stretch: days 0 .. last are local dates; instants are milliseconds since 1970, UTC."""

    first: date
    last: int
    midnights: tuple[int, ...]

    def date_of(self, day: int) -> date:
        return self.first + timedelta(days=day)

    def day(self, at: int) -> int:
        """The local day in which an instant lies."""
        return bisect_right(self.midnights, at) - 1

    def week(self, day: int) -> date:
        """The Monday of the day's ISO week."""
        found = self.date_of(day)
        return found - timedelta(days=found.weekday())

    def month(self, day: int) -> date:
        return self.date_of(day).replace(day=1)

    def start(self, date: date) -> int:
        """The instant of the date's midnight; dates after the stretch are known for a while."""
        return self.midnights[(date - self.first).days]


def span(until: date, zone: str, past_days: int = 90) -> Days:
    """`past_days` days of the past and then the day `until`, in a time zone."""
    first = until - timedelta(days=past_days)
    local = ZoneInfo(zone)
    midnights = [
        datetime(day.year, day.month, day.day, tzinfo=local)
        for day in (first + timedelta(days=number) for number in range(past_days + 130))
    ]
    return Days(first, past_days, tuple(int(at.timestamp()) * 1000 for at in midnights))


def busyness(days: Days) -> list[float]:
    """How many first visits each day draws, relative to others: a trend, the week, one campaign."""
    return [
        (1 + GROWTH * day / days.last)
        * WEEKDAYS[days.date_of(day).weekday()]
        * (1.6 if day == CAMPAIGN_DAY else 1.25 if day == CAMPAIGN_DAY + 1 else 1.0)
        for day in range(days.last + 1)
    ]


_EPOCH = date(1970, 1, 1)
_prefixes: dict[int, str] = {}
_MINUTES = tuple(f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60))
_SECONDS = tuple(f"{second:02d}." for second in range(60))
_MS = tuple(f"{ms:03d}Z" for ms in range(1000))


def iso(at: int) -> str:
    """An instant as SDKs write it: 2026-11-22T10:00:00.123Z."""
    number, rest = divmod(at, DAY)
    prefix = _prefixes.get(number)
    if prefix is None:
        prefix = _prefixes[number] = (_EPOCH + timedelta(days=number)).isoformat()
    minute, rest = divmod(rest, MINUTE)
    second, ms = divmod(rest, 1000)
    return prefix + _MINUTES[minute] + _SECONDS[second] + _MS[ms]


def now_ms() -> int:
    """The clock of a client that sends; what it simulates never depends on it."""
    return int(datetime.now(UTC).timestamp() * 1000)
