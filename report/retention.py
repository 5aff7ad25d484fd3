"""Retention matrices: cohorts by period, and the mean over complete cells."""

from __future__ import annotations

from datetime import date

from report.published import Published, Row

COLUMNS = (
    "retention cohort_start breakdown_value period_no period cohort_n retained_n retained_pct"
    " is_complete is_final is_censored value"
)
MOST_COHORTS = 104


def read(published: Published, until: date) -> list[Row]:
    """One matrix for each retention and breakdown value: the newest cohorts that began by `until`, and means over all.

    A cell is [retained_n, state, value]: state 0 not over yet, 1 complete, 2 complete but not final. `mean` has
    [Σ retained, Σ cohort, Σ value, Σ value in the first period] over complete cells, `mean_warm` the same without the
    cohorts of the warm-up.
    """
    # brackets hold several periods in one cell
    has_spans = published.lacks("marts.retention_cells", "from_no to_no") is None
    spans = "from_no, to_no" if has_spans else "period_no as from_no, period_no as to_no"
    rows = published.rows(
        f"select retention, cohort_start, breakdown_value, period_no, {spans}, period, cohort_n, retained_n,"
        " value::double as value, is_complete, is_final, is_censored from marts.retention_cells"
        " where cohort_start <= $until"
        # a cohort that nobody entered stands under (all), also where the others have groups
        " qualify breakdown_value <> '(all)'"
        "   or bool_and(breakdown_value = '(all)') over (partition by retention)"
        " order by retention, breakdown_value, cohort_start, period_no",
        until=until,
    )
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["retention"], row["breakdown_value"]), []).append(row)
    return [_matrix(name, value, cells) for (name, value), cells in found.items()]


def _matrix(name: str, value: str, cells: list[Row]) -> Row:
    spans = {cell["period_no"]: [cell["from_no"], cell["to_no"]] for cell in cells}
    periods = sorted(spans)
    cohorts: dict[object, Row] = {}
    for cell in cells:
        cohort = cohorts.setdefault(
            cell["cohort_start"],
            {
                "start": cell["cohort_start"],
                "cohort_n": cell["cohort_n"],
                "is_censored": bool(cell["is_censored"]),
                "cells": {},
            },
        )
        state = (1 if cell["is_final"] is not False else 2) if cell["is_complete"] else 0
        cohort["cells"][cell["period_no"]] = [
            cell["retained_n"] if state else None,
            state,
            round(cell["value"], 2) if state and cell["value"] is not None else None,
        ]
    ordered = sorted(cohorts.values(), key=lambda cohort: cohort["start"])
    shown = [
        {**cohort, "cells": [cohort["cells"].get(period, [None, 0, None]) for period in periods]}
        for cohort in ordered[-MOST_COHORTS:]
    ]
    return {
        "name": name,
        "value": value,
        "period": cells[0]["period"],
        "periods": periods,
        "spans": [spans[number] for number in periods],
        "cohorts": shown,
        "cohort_n": len(ordered),
        "mean": _mean(cells, periods),
        "mean_warm": _mean([cell for cell in cells if not cell["is_censored"]], periods),
    }


def _mean(cells: list[Row], periods: list[int]) -> list[list[float]]:
    """[Σ retained, Σ cohort, Σ value, Σ value of the same cohorts in the first period] for each period."""
    whole = [cell for cell in cells if cell["is_complete"] and cell["retained_n"] is not None]
    begun = {cell["cohort_start"]: cell["value"] or 0 for cell in whole if cell["period_no"] == periods[0]}
    return [
        [
            sum(cell["retained_n"] for cell in whole if cell["period_no"] == period),
            sum(cell["cohort_n"] for cell in whole if cell["period_no"] == period),
            round(sum(cell["value"] or 0 for cell in whole if cell["period_no"] == period), 2),
            round(sum(begun.get(cell["cohort_start"], 0) for cell in whole if cell["period_no"] == period), 2),
        ]
        for period in periods
    ]
