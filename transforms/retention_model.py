"""marts.retention_entries and marts.retention_cells: the cohorts of the touched persons, and the cells they fall in."""

from __future__ import annotations

from typing import Any

import polars as pl

from transforms import people
from transforms.definitions import Retention
from transforms.periods import START, data_dates
from transforms.retention import CELLS as CELL_COLUMNS
from transforms.retention import cells, entries, facts_query
from transforms.run import Run
from transforms.steps import column, matches, property_path

ENTRIES = "marts.retention_entries"
CELLS = "marts.retention_cells"
# Consecutive numbers of the local periods, from the first ISO week of 1970.
NUMBER = {
    "day": "date_diff('day', date '1970-01-05', {start})",
    "week": "date_diff('day', date '1970-01-05', {start}) // 7",
    "month": "date_diff('month', date '1970-01-01', {start})",
}


def fill(run: Run) -> int:
    """Make the touched persons' entries of every retention again, and the cells in which old or new ones fall."""
    if run.whole:
        run.forget(ENTRIES)
        names = [retention.name for retention in run.definitions.retentions]
        run.forget(CELLS, "retention not in (select unnest(cast($names as varchar[])))", {"names": names})
    people.gather(run)
    return sum(_fill(run, retention) for retention in run.definitions.retentions)


def _fill(run: Run, retention: Retention) -> int:
    found = entries(_facts(run, retention), retention)
    values = {"retention": retention.name}
    with run.warehouse.frames(_found=found.with_columns(pl.col("entry_at").cast(pl.Datetime("us")))):
        rows = run.replace(
            ENTRIES,
            "select $retention as retention, * from _found",
            values,
            scope="retention = $retention and person_id in (select key from touched_persons)",
            key="person_id, cohort_start, period_no",
        )
    return rows + _fill_cells(run, retention)


def _facts(run: Run, retention: Retention) -> pl.DataFrame:
    is_start, values = matches(retention.start, "start")
    is_return, bound = matches(retention.returns, "returns")
    values |= bound
    value = "1.0"
    if retention.value != "count":
        said = "try_cast(json_extract_string(e.properties, $value_path) as double)"
        value = f"case when isfinite({said}) then {said} else 0.0 end"
        values["value_path"] = property_path(retention.value.removeprefix("sum(").removesuffix(")"))
    breakdown = "cast(null as varchar)"
    if retention.breakdown:
        breakdown = column(retention.breakdown)
        values["breakdown_path"] = property_path(retention.breakdown)
    start = START[retention.period].format(date="p.date")
    lines = f"""
        select
            p.person_id,
            epoch_us(p.event_at) as at,
            cast({NUMBER[retention.period].format(start=start)} as bigint) as period_no_abs,
            {start} as period_start,
            coalesce({is_start}, false) as is_start,
            coalesce({is_return}, false) as is_return,
            cast({value} as double) as value,
            {breakdown} as breakdown,
            e.seq, e.event_id, e.source, e.event_no
        from people_placements as p
        inner join people_events as e on p.event_no = e.event_no
        left join people_sessions as s on p.session_no = s.session_no
        where
            p.person_id in (select key from touched_persons) and not p.is_bot and not p.is_daily
            and (({is_start}) or ({is_return}))
    """
    return run.warehouse.frame(facts_query(lines, retention), values)


def _fill_cells(run: Run, retention: Retention) -> int:
    """Make the cells again of cohorts that changed, that were not final before, or that are not there yet."""
    warehouse = run.warehouse
    begin, last = data_dates(run) or (None, None)
    timezone = run.definitions.site.timezone
    every = (
        cells(retention, begin, run.horizon, timezone, last_date=last) if begin else pl.DataFrame(schema=CELL_COLUMNS)
    )
    values: dict[str, Any] = {
        "retention": retention.name,
        "period": retention.period,
        "horizon": run.horizon,
        "before": run.horizon_before,
        "whole": run.whole,
        "min_occurrences": retention.min_occurrences,
        "reference": retention.reference,
    }
    with warehouse.frames(_cells=every):
        warehouse.execute("create or replace temp table cohorts as select distinct cohort_start from _cells")
        # Earlier first data move the cohorts that look new only because the data begin there.
        warehouse.execute(
            f"""
            create or replace temp table cells as
            with known as (
                select distinct cohort_start, period_no, is_censored
                from {CELLS}
                where retention = $retention
            ),

            stale as (
                select c.cohort_start
                from _cells as c
                left join known as k on c.cohort_start = k.cohort_start and c.period_no = k.period_no
                where $whole or c.final_at > cast($before as timestamp) or k.is_censored is distinct from c.is_censored
                union
                select cohort_start from old_retention_entries
                union
                select cohort_start from new_retention_entries
            )

            select * from _cells where cohort_start in (select cohort_start from stale)
            """,
            values,
        )
    scope = "retention = $retention"
    if not run.whole:
        scope += (
            " and (cohort_start in (select cohort_start from cells)"
            " or cohort_start not in (select cohort_start from cohorts))"
        )
    return run.replace(
        CELLS, warehouse.query(CELLS), values, scope=scope, key="retention, cohort_start, breakdown_value, period_no"
    )
