"""How the cost of a build grows with the data: its time, and the rows that each model reads and writes.

    python bench/growth.py [--day 20000] [--short 30] [--long 300] [--steps 5000000]

Two homes get the same shop, one with `--short` days of history, one with `--long` (persons in proportion), `--day`
events a day. Each is built whole, and then built again with one more day on top. A row is read when a scan hands it
out: what DuckDB can leave out by a column's least and greatest values is not read. Then the funnel kernel: the same
`--steps` events with 4, 8 and 20 steps.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.models import START, Cost, built, make
from transforms.definitions import Funnel, Step
from transforms.flow import MODELS
from transforms.funnels import attempts
from warehouse import open_warehouse

WEEK_US = 7 * 86_400_000_000


def grown(days: int, day: int) -> tuple[Cost, Cost]:
    """A history of `days`, built whole, and then one day on top of it, in a file that is opened anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warehouse.duckdb"
        persons = max(1, days * day // 12)
        now = START + timedelta(days=days)
        with closing(open_warehouse(path)) as warehouse:
            make(warehouse, landing_id=1, first_day=0, days=days, events=days * day, persons=persons)
            whole = built(warehouse, now)
            make(warehouse, landing_id=2, first_day=days, days=1, events=day, persons=persons)
        with closing(open_warehouse(path)) as warehouse:
            one_day = built(warehouse, now + timedelta(days=1))
    return whole, one_day


def compare(title: str, short: Cost, long: Cost) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("model", "read", "read, long", "ratio", "written", "written, long", "s", "s, long", "ratio"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in MODELS:
        name = model.name
        table.add_row(
            name,
            f"{short.read[name]:,}",
            f"{long.read[name]:,}",
            f"{long.read[name] / max(short.read[name], 1):.1f}",
            f"{short.written[name]:,}",
            f"{long.written[name]:,}",
            f"{short.seconds[name]:.2f}",
            f"{long.seconds[name]:.2f}",
            f"{long.seconds[name] / max(short.seconds[name], 1e-9):.1f}",
        )
    table.add_row(
        "whole build",
        f"{sum(short.read.values()):,}",
        f"{sum(long.read.values()):,}",
        f"{sum(long.read.values()) / max(sum(short.read.values()), 1):.1f}",
        f"{sum(short.written.values()):,}",
        f"{sum(long.written.values()):,}",
        f"{short.clock:.2f}",
        f"{long.clock:.2f}",
        f"{long.clock / short.clock:.1f}",
    )
    table.add_row("processor", *[""] * 5, f"{short.processor:.2f}", f"{long.processor:.2f}",
                  f"{long.processor / short.processor:.1f}")  # fmt: skip
    return table


def funnels(events: int) -> Table:
    """The kernel alone: as many steps as kinds of events, each event of a random kind."""
    table = Table(title=f"Funnel kernel, {events:,} events that match a step", title_justify="left")
    for column in ("steps", "attempts", "s", "times 4 steps"):
        table.add_column(column, justify="right")
    first = 0.0
    for count in (4, 8, 20):
        funnel = Funnel(
            "bench", tuple(Step(event=str(number)) for number in range(count)), window_us=WEEK_US, entry_period="day"
        )
        frame = duckdb.sql(
            f"select cast(i // 25 as bigint) as unit_id, cast(i * 3600000000 as bigint) as at, "
            f"date '2026-01-05' + cast(i // 24 % 365 as integer) as period_start, "
            f"cast(1 << (hash(i) % {count}) as uinteger) as steps from range({events}) as t(i) order by i"
        ).pl()
        started = time.perf_counter()
        found = attempts(frame, funnel, horizon_us=2**62)
        seconds = time.perf_counter() - started
        first = first or seconds
        table.add_row(str(count), f"{found.height:,}", f"{seconds:.2f}", f"{seconds / first:.1f}")
    return table


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--day", type=int, default=20_000, help="events of a day")
    options.add_argument("--short", type=int, default=30, help="days of the short history")
    options.add_argument("--long", type=int, default=300, help="days of the long history")
    options.add_argument("--steps", type=int, default=5_000_000, help="events of the funnel kernel")
    asked = options.parse_args()
    console = Console(width=max(Console().width, 130))
    console.print(f"{asked.day:,} events a day, {asked.short} and {asked.long} days, from {START:%Y-%m-%d}")
    short, long = grown(asked.short, asked.day), grown(asked.long, asked.day)
    console.print(compare("A whole build", short[0], long[0]))
    console.print(compare("One more day", short[1], long[1]))
    console.print(funnels(asked.steps))
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"duckdb {duckdb.__version__}, polars {pl.__version__}, most memory held "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    )


if __name__ == "__main__":
    main()
