"""Calendar periods in the site's time zone, as SQL."""

from __future__ import annotations

from datetime import date
from typing import Literal

from transforms.run import Run

Period = Literal["day", "week", "month"]

# Local date that is the first of the period of a local date, and the first date after the period.
START = {
    "day": "{date}",
    "week": "cast(date_trunc('week', {date}) as date)",
    "month": "cast(date_trunc('month', {date}) as date)",
}
NEXT = {
    "day": "cast({start} + 1 as date)",
    "week": "cast({start} + 7 as date)",
    "month": "cast({start} + interval 1 month as date)",
}


def instant(local_date: str) -> str:
    """SQL for the UTC timestamp at which a local date begins; binds $timezone.

    Where the clock goes back over midnight (Havana, the Azores) DuckDB takes the second midnight of that date; the
    end of the date before leads to the first.
    """
    midnight = f"cast({local_date} as timestamp)"
    moment = "interval 1 microsecond"
    return (
        f"least(timezone('UTC', timezone($timezone, {midnight})), "
        f"timezone('UTC', timezone($timezone, {midnight} - {moment})) + {moment})"
    )


def first_date(run: Run) -> date | None:
    """The first local date with an event that is no program's; None without one."""
    dates = data_dates(run)
    return dates[0] if dates else None


def data_dates(run: Run) -> tuple[date, date] | None:
    """The first and last local date with an event that is no program's, asked once a build; None without one."""
    if run.data_dates is None:
        # Asked so, DuckDB passes over what cannot be the first or the last; least and greatest would read all.
        dates = "select date from core.placements where not is_bot order by date"
        first, last = run.warehouse.value(f"{dates} limit 1"), run.warehouse.value(f"{dates} desc limit 1")
        run.data_dates = (first, last) if first else None
    return run.data_dates


def lay_periods(run: Run, period: Period, table: str) -> None:
    """Temp table (period_start date, period_end_at timestamp): all periods from the first data to the last.

    The last is that of the horizon, or of the last event where a trusted clock was ahead of it.
    """
    start = START[period].format(date="day")
    following = NEXT[period].format(start="period_start")
    first, last = data_dates(run) or (None, None)
    run.warehouse.execute(
        f"""
        create or replace temp table {table} as
        with bounds as (
            select
                cast($first as date) as first_day,
                greatest(cast($last as date), cast(timezone($timezone, timezone('UTC', $horizon)) as date)) as last_day
        ),

        days as (
            select cast(unnest(generate_series(first_day, last_day, interval 1 day)) as date) as day
            from bounds
            where first_day is not null
        ),

        starts as (
            select distinct {start} as period_start from days
        )

        select period_start, {instant(following)} as period_end_at
        from starts
        """,
        {"timezone": run.definitions.site.timezone, "horizon": run.horizon, "first": first, "last": last},
    )
