"""marts.lifecycle_states and marts.lifecycle: who is new, stays, comes back or falls silent, by period."""

from __future__ import annotations

from typing import get_args

from transforms import people
from transforms.periods import Period, lay_periods
from transforms.run import Run
from transforms.steps import like

STATES = "marts.lifecycle_states"
CELLS = "marts.lifecycle"


def fill(run: Run) -> int:
    """Make the touched persons' states again, and the periods in which old or new ones fall or that have ended."""
    warehouse = run.warehouse
    if run.whole:
        run.forget(STATES)
    people.gather(run)
    _active_days(run)
    rows = run.replace(
        STATES,
        warehouse.query(STATES),
        scope="person_id in (select key from touched_persons)",
        key="person_id, period, period_start",
    )
    values = {"horizon": run.horizon, "before": run.horizon_before, "whole": run.whole}
    laid = []
    for period in get_args(Period):
        lay_periods(run, period, f"laid_{period}")
        laid.append(f"select '{period}' as period, period_start, period_end_at from laid_{period}")
    warehouse.execute(f"create or replace temp table laid as {' union all '.join(laid)}")
    warehouse.execute(
        f"""
        create or replace temp table lifecycle_periods as
        select * from laid
        where
            $whole or period_end_at > cast($before as timestamp)
            or (period, period_start) in (
                select period, period_start from old_lifecycle_states
                union select period, period_start from new_lifecycle_states
            )
            or (period, period_start) not in (select period, period_start from {CELLS})
        """,
        values,
    )
    return rows + run.replace(
        CELLS,
        warehouse.query(CELLS),
        values,
        # Periods before the data begin go away.
        scope="((period, period_start) in (select period, period_start from lifecycle_periods)"
        " or (period, period_start) not in (select period, period_start from laid))",
        key="period, period_start, state",
    )


def _active_days(run: Run) -> None:
    """Temp table active_days: person and local date, of what the touched persons did."""
    names = run.definitions.lifecycle.active_events
    values = {f"name_{number}": like(name) for number, name in enumerate(names)}
    join, is_active = "", "p.is_bearing"
    if names:
        join = "inner join people_events as e on p.event_no = e.event_no"
        is_active = " or ".join(rf"e.name like ${name} escape '\'" for name in values)
    run.warehouse.execute(
        f"""
        create or replace temp table active_days as
        select distinct p.person_id, p.date
        from people_placements as p {join}
        where p.person_id in (select key from touched_persons) and not p.is_bot and not p.is_daily and ({is_active})
        """,
        values,
    )
