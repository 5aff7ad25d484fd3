"""Lifecycle: how many people are new, stay, come back or fall silent, by day, week and month."""

from __future__ import annotations

from datetime import date, timedelta

from report.period import LONGEST
from report.published import Published, Row

COLUMNS = "period period_start state person_n is_complete"
STATES = ("new", "returning", "resurrecting", "dormant")


def read(published: Published, until: date) -> Row:
    """By length of period: `starts` up to `until`, `is_complete`, and people for each state (None: not known)."""
    rows = published.rows(
        "select period, period_start, bool_and(is_complete) as is_complete, "
        + ", ".join(f"any_value(person_n) filter (where state = '{state}') as {state}" for state in STATES)
        + " from marts.lifecycle where period_start <= $until group by period, period_start order by period_start",
        until=until,
    )
    newest = max((row["period_start"] for row in rows), default=until)
    found: Row = {}
    for row in rows:
        if row["period_start"] <= newest - timedelta(days=LONGEST):
            continue
        kept = found.setdefault(row["period"], {"starts": [], "is_complete": [], **{state: [] for state in STATES}})
        kept["starts"].append(row["period_start"])
        for name in ("is_complete", *STATES):
            kept[name].append(row[name])
    return found
