"""Which days the report covers: the last complete date, and the ranges a reader may choose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from report.published import Published

LENGTHS = {"7": 7, "28": 28, "90": 90}
LONGEST = 731
QUIET = timedelta(days=28)


@dataclass(frozen=True)
class Range:
    """Dates since..until, both included, and the equally long ones before them (None: not all on record)."""

    key: str
    since: date
    until: date
    before_since: date | None
    before_until: date | None


@dataclass(frozen=True)
class Period:
    """The dates on record: `first`..`last` are shown, of which those up to `complete` are over.

    `complete` is None while the first date of all still runs. `is_cut` says that older dates are left out,
    `is_past` that traffic ended so long before the horizon that the dates since then are.
    """

    first: date
    last: date
    complete: date | None
    is_cut: bool
    is_past: bool

    @property
    def until(self) -> date:
        """Nothing that begins after this date is shown."""
        return self.last if self.is_past else date.max

    @property
    def ranges(self) -> list[Range]:
        """The choices, shortest first; one that reaches back before the first date is left to "all"."""
        until = self.complete or self.last
        found = []
        for key, days in LENGTHS.items():
            since = until - timedelta(days=days - 1)
            before = since - timedelta(days=days)
            if since > self.first:
                is_whole = before >= self.first
                found.append(
                    Range(
                        key,
                        since,
                        until,
                        before if is_whole else None,
                        since - timedelta(days=1) if is_whole else None,
                    )
                )
        return [*found, Range("all", self.first, until, None, None)]


def local_date(instant: datetime, timezone: str) -> date:
    """The calendar date of a UTC instant in a zone; a zone this machine does not know counts as UTC."""
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        return instant.date()
    return instant.replace(tzinfo=UTC).astimezone(zone).date()


def read(published: Published, horizon: datetime | None, timezone: str) -> Period | None:
    """The dates with traffic up to the horizon (naive UTC), the last two years at most; None without any."""
    row = published.rows(
        "select min(period_start) as first, max(period_start) as last,"
        " max(period_start) filter (where is_complete) as complete"
        " from marts.traffic_totals where period = 'day'"
    )[0]
    if row["first"] is None:
        return None
    first, last, complete = row["first"], row["last"], row["complete"]
    is_past = False
    if horizon is not None:
        # a quiet yesterday has no row and is over all the same
        over = local_date(horizon, timezone) - timedelta(days=1)
        last = max(first, min(last, over + timedelta(days=1)))
        # but months of silence after an import of old logs would hide all that is there
        is_past = last + QUIET < over
        last = last if is_past else max(last, over)
        complete = min(over, last) if over >= first else None
    since = last - timedelta(days=LONGEST - 1)
    return Period(max(first, since), last, complete, first < since, is_past)
