"""The local dates that a build makes again, for the models that go by date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from transforms.definitions import DAY_US
from transforms.periods import instant
from transforms.run import Run, portions


def touch(run: Run) -> None:
    """Temp tables touched_dates (date, ends_at UTC) and near_dates (date): the latter hold all of their sessions."""
    run.touched("date", "touched_days", "select date_diff('day', date '1970-01-01', date) from core.placements")
    _lay(run, "true")


def in_portions(run: Run) -> Iterator[str]:
    """Touch the dates in portions, the oldest first, so that memory does not grow with them: see `touch`.

    Gives of each portion the condition that selects its rows of a table with a date. Where all is made anew, together
    the portions select all rows.
    """
    touch(run)
    days = run.warehouse.execute(
        """
        with counted as (
            select date, count(*) as event_n
            from core.placements
            where date in (select date from touched_dates)
            group by date
        )

        select date, coalesce(c.event_n, 0)
        from touched_dates
        left join counted as c using (date)
        order by date
        """
    )
    parts = portions(days)
    if len(parts) < 2:
        yield "true" if run.whole else "date in (select date from touched_dates)"
        return
    starts = [part[0] for part in parts]
    for since, until in zip(starts, [*starts[1:], None], strict=True):
        _lay(run, _between(since, until))
        if run.whole:
            # Rows of dates that nothing is left of lie anywhere.
            yield _between(None if since == starts[0] else since, until)
        else:
            yield "date in (select date from touched_dates)"


def _between(since: date | None, until: date | None) -> str:
    """SQL condition of a date, with constants, so that rows of other dates are not read."""
    bounds = ((">=", since), ("<", until))
    return " and ".join(f"date {sign} date '{day}'" for sign, day in bounds if day) or "true"


def _lay(run: Run, which: str) -> None:
    """Temp tables touched_dates and near_dates of those touched dates that a condition selects."""
    warehouse = run.warehouse
    warehouse.execute(
        f"""
        create or replace temp table touched_dates as
        with days as (
            select date '1970-01-01' + cast(key as integer) as date
            from touched_days
        )

        select date, {instant("date + 1")} as ends_at
        from days
        where {which}
        """,
        {"timezone": run.definitions.site.timezone},
    )
    sessions = run.definitions.sessions
    warehouse.execute(
        """
        create or replace temp table near_dates as
        select distinct date + cast(away as integer) as date
        from (select date, unnest(generate_series(-$days, $days)) as away from touched_dates)
        """,
        # A session of a day and a bit touches three dates.
        {"days": 1 - (-(sessions.cap_us + sessions.gap_us) // DAY_US)},
    )
