"""Lay the tally beside the published tables: every complete cell, number by number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import duckdb

from demo.days import DAY
from demo.tally import BANDS, INTERVALS, STEPS, WINDOW, Tally

# Keys as text and dates, as they stand in the published table.
Key: TypeAlias = tuple[Any, ...]
Number: TypeAlias = int | Decimal
Numbers: TypeAlias = dict[Key, Number]

COUNTS = (
    "visitor_n",
    "new_visitor_n",
    "session_n",
    "engaged_session_n",
    "converted_session_n",
    "bounce_n",
    "page_view_n",
    "order_n",
)
AMOUNTS = ("order_amt", "refund_amt", "revenue_amt")


@dataclass(frozen=True)
class Cell:
    """One published number and what the tally says of it."""

    key: Key
    tally: Number
    published: Number

    @property
    def is_equal(self) -> bool:
        return self.tally == self.published


@dataclass(frozen=True)
class Compared:
    """One column of one published table."""

    table: str
    column: str
    cells: tuple[Cell, ...]

    @property
    def different(self) -> list[Cell]:
        return [cell for cell in self.cells if not cell.is_equal]


def compare(tally: Tally, bi: Path) -> list[Compared]:
    """Every complete cell of traffic, funnel, retention and journeys in the published file `bi`.

    A cell is complete when its end lies at or before the published horizon: what the tally knows as complete
    must be published as such, and a complete cell that only one side has counts as 0 on the other.
    """
    with duckdb.connect(str(bi), read_only=True) as con:
        con.execute("set timezone = 'UTC'")
        horizon = con.execute("select horizon from meta.build_info").fetchall()[0][0]
        upto = int(horizon.replace(tzinfo=UTC).timestamp() * 1000)
        return [
            *_traffic(tally, con, upto),
            *_totals(tally, con, upto),
            *_funnel(tally, con, upto),
            *_retention(tally, con, upto),
            *_journey(tally, con, upto),
            *_pages(tally, con, upto),
        ]


def _traffic(tally: Tally, con: duckdb.DuckDBPyConnection, upto: int) -> Iterator[Compared]:
    days = tally.days
    told = {
        (days.date_of(day), channel, device, country): counts
        for (day, channel, device, country), counts in tally.traffic.items()
        if days.midnights[day + 1] <= upto
    }
    yield from _meet(
        con,
        "traffic_daily",
        "date, channel, device, country",
        "not is_bot and is_complete and source = 'web'",
        {column: {key: _number(told[key], column) for key in told} for column in (*COUNTS, *AMOUNTS)},
    )


def _totals(tally: Tally, con: duckdb.DuckDBPyConnection, upto: int) -> Iterator[Compared]:
    days = tally.days
    told = {
        (source, period, start): counts
        for (period, start), counts in tally.totals.items()
        for source in ("web", "(all)")
        if days.start(_period_end(period, start)) <= upto
    }
    yield from _meet(
        con,
        "traffic_totals",
        "source, period, period_start",
        "not is_bot and is_complete",
        {column: {key: _number(told[key], column) for key in told} for column in (*COUNTS, *AMOUNTS)},
    )


def _funnel(tally: Tally, con: duckdb.DuckDBPyConnection, upto: int) -> Iterator[Compared]:
    days = tally.days
    told: Numbers = {
        (days.date_of(day), step): tally.funnel[days.date_of(day), step]
        for day in range(days.last + 1)
        for step in range(1, len(STEPS) + 1)
        if days.midnights[day + 1] + WINDOW <= upto
    }
    yield from _meet(
        con,
        "funnel_steps",
        "period_start, step_no",
        "funnel = 'checkout' and breakdown_value = '(all)' and is_complete",
        {"reached_n": told},
    )


def _retention(tally: Tally, con: duckdb.DuckDBPyConnection, upto: int) -> Iterator[Compared]:
    days = tally.days
    weeks = sorted({days.week(day) for day in range(days.last + 1)})
    complete = [
        (name, week, number)
        for name in tally.retention
        for week in weeks
        for number in range(INTERVALS + 1)
        if days.start(week + timedelta(weeks=number + 1)) <= upto
    ]
    yield from _meet(
        con,
        "retention_cells",
        "retention, cohort_start, period_no",
        "breakdown_value = '(all)' and is_complete",
        {
            "cohort_n": {key: tally.retention[key[0]][key[1], 0] for key in complete},
            "retained_n": {key: tally.retention[key[0]][key[1], key[2]] for key in complete},
        },
    )


def _journey(tally: Tally, con: duckdb.DuckDBPyConnection, upto: int) -> Iterator[Compared]:
    def complete(counts: Mapping[Any, int]) -> Numbers:
        return {key: n for key, n in counts.items() if days.start(key[0]) + DAY <= upto}

    days = tally.days
    ended = f"journey = 'from-home' and date <= '{days.date_of(days.day(upto) - 1)}'"
    yield from _meet(
        con, "journey_edges", "date, step_no, from_node, to_node", ended, {"unit_n": complete(tally.edges)}
    )
    yield from _meet(
        con,
        "journey_paths",
        "date, path",
        ended,
        {"unit_n": complete(tally.paths), "conversion_n": complete(tally.path_conversions)},
    )


def _pages(tally: Tally, con: duckdb.DuckDBPyConnection, upto: int) -> Iterator[Compared]:
    """What happened on the pages of each date that is over: by thing pressed, by page, by part of the page."""
    days = tally.days
    over = f"source = 'web' and date <= '{days.date_of(days.day(upto) - 1)}'"

    def complete(counts: Mapping[Any, Mapping[str, int]], *columns: str) -> dict[str, Numbers]:
        keys = [key for key in counts if days.start(key[0]) + DAY <= upto]
        return {column: {key: counts[key].get(column, 0) for key in keys} for column in columns}

    kinds = ("click_n", "rage_n", "dead_n")
    yield from _meet(con, "heatmap_elements", "date, path, selector", over, complete(tally.elements, *kinds))
    signs = ("view_n", "rage_n", "dead_n", "quick_back_n", "excessive_scroll_n", "error_n")
    yield from _meet(con, "friction_pages", "date, path", over, complete(tally.friction, *signs))
    # All pages together: one by one they are more cells than all other tables have.
    reach: defaultdict[tuple[date, str, int], Counter[str]] = defaultdict(Counter)
    for (day, _, band), depths in tally.depths.items():
        for depth_band in range(BANDS):
            cell = reach[day, band, depth_band]
            cell["view_n"] += len(depths)
            cell["reached_n"] += sum(pct > depth_band * 100 // BANDS for pct in depths)
    keys = "date, viewport_band, depth_band"
    yield from _meet(con, "scroll_reach", keys, over, complete(reach, "view_n", "reached_n"))


def _period_end(period: str, start: date) -> date:
    """The first date after the period."""
    match period:
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(weeks=1)
        case _:
            return (start + timedelta(days=32)).replace(day=1)


def _number(counts: Mapping[str, int], column: str) -> Number:
    if column not in AMOUNTS:
        return counts.get(column, 0)
    orders, refunds = counts.get("order_cents", 0), counts.get("refund_cents", 0)
    cents = {"order_amt": orders, "refund_amt": refunds, "revenue_amt": orders - refunds}[column]
    return Decimal(cents) / 100


def _whole(number: Number | float) -> Number:
    """Counts of samples are floating: here each sample stands for itself."""
    return number if not isinstance(number, float) else int(number) if number.is_integer() else Decimal(str(number))


def _meet(
    con: duckdb.DuckDBPyConnection, table: str, keys: str, where: str, told: dict[str, Numbers]
) -> Iterator[Compared]:
    """The tally's numbers, by column and key, beside those of the published table."""
    key_n = keys.count(",") + 1
    sums = ", ".join(f"sum({column})" for column in told)
    rows = con.execute(f"select {keys}, {sums} from marts.{table} where {where} group by {keys}").fetchall()
    for place, (column, numbers) in enumerate(told.items(), start=key_n):
        published = {row[:key_n]: _whole(row[place] or 0) for row in rows}
        # What only the file has matters where it is not 0.
        cells = [Cell(key, number, published.get(key, 0)) for key, number in numbers.items()]
        cells += [Cell(key, 0, n) for key, n in published.items() if n and key not in numbers]
        yield Compared(table, column, tuple(cells))
