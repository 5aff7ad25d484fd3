"""The local dates that a build makes again, for the models that go by date."""

from __future__ import annotations

from transforms.definitions import DAY_US
from transforms.periods import instant
from transforms.run import Run


def touch(run: Run) -> None:
    """Temp tables touched_dates (date, ends_at UTC) and near_dates (date): the latter hold all of their sessions."""
    warehouse = run.warehouse
    run.touched("date", "touched_days", "select date_diff('day', date '1970-01-01', date) from core.placements")
    warehouse.execute(
        f"""
        create or replace temp table touched_dates as
        with days as (
            select date '1970-01-01' + cast(key as integer) as date
            from touched_days
        )

        select date, {instant("date + 1")} as ends_at
        from days
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
