"""How long the kernels take: a funnel, journeys and retention over synthetic events, sorted by DuckDB.

    PYTHONPATH=. python bench/kernels.py [--events 20000000] [--users 400000] [--repeat 3] [--threads 2]

Half of the events are steps of the funnel (4 steps, window 7 days, entry by day), as in the comparison of
forms that the choice of this kernel rests on. Times are the best of the repeats; sorting is given apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import duckdb
import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

from transforms.definitions import DAY_US, Funnel, Journey, Retention, Step
from transforms.funnels import attempts
from transforms.journeys import walk
from transforms.retention import entries, facts_query

DAYS = 30

EVENTS = """
create temp table events as
with drawn as (
    select
        hash(range * 7 + 1) % $users as person_id,
        epoch_us(timestamp '2026-01-01')
        + hash(range * 7 + 2) % (cast($days as bigint) * 86400000) * 1000 as us,
        hash(range * 7 + 3) % 8 as kind,
        hash(range * 7 + 4) % 40 as page
    from range($events)
)

select
    cast(person_id as bigint) as person_id, cast(us as bigint) as us, cast(kind as utinyint) as kind,
    cast(page as utinyint) as page, cast(make_timestamp(cast(us as bigint)) as date) as date
from drawn
"""

FUNNEL = """
select
    person_id as unit_id, us as at, date as period_start, cast(1 << kind as uinteger) as steps,
    cast(0 as uinteger) as excludes, cast(null as varchar) as breakdown, us // 86400000000 as session_no
from events
where kind < 4
order by person_id, us
"""

# A visit of the benchmark is a person's day.
NODES = """
select
    person_id * 100 + date_diff('day', date '2026-01-01', date) as unit_id, date, us as at,
    '/page/' || page as node, page = 0 as is_start, page = 1 as is_end,
    cast(null as bigint) as converted_at, false as is_open
from events
where kind < 4
order by unit_id, us
"""

LINES = """
select
    person_id, us as at, date_diff('week', date '1970-01-05', date) as period_no_abs,
    cast(date_trunc('week', date) as date) as period_start, kind = 0 as is_start, kind = 1 as is_return,
    cast(null as double) as value, cast(null as varchar) as breakdown,
    null as seq, null as event_id, null as source, null as event_no
from events
where kind < 2
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    console = Console()
    con = duckdb.connect(config={"threads": args.threads})
    with console.status(f"making {args.events:,} events of {args.users:,} persons"):
        con.execute(EVENTS, {"events": args.events, "users": args.users, "days": DAYS})

    steps = tuple(Step(event=name) for name in ("view", "add", "checkout", "order"))
    plain = Funnel("bench", steps, window_us=7 * DAY_US)
    after = Funnel("bench", steps, window_us=7 * DAY_US, step_window_us=(DAY_US, 2 * DAY_US, DAY_US))
    best = Funnel("bench", steps, window_us=7 * DAY_US, reentry="optimized")
    total = Funnel("bench", steps, window_us=7 * DAY_US, counting="totals")
    journey, way = Journey("bench"), Journey("bench", start=Step(page="/page/0"), end=Step(page="/page/1"))
    weeks = Retention("bench", start=steps[0], returns=steps[1], intervals=4)
    again = Retention("bench", start=steps[0], returns=steps[1], intervals=4, entry="recurring")
    facts = facts_query(LINES, weeks)
    horizon_us = 2**62

    def funnel(asked: Funnel) -> Callable[[pl.DataFrame], pl.DataFrame]:
        return lambda frame: attempts(frame, asked, horizon_us=horizon_us, carry=("session_no",))

    runs: list[tuple[str, str, Callable[[pl.DataFrame], pl.DataFrame]]] = [
        ("funnel: default", FUNNEL, funnel(plain)),
        ("funnel: step windows", FUNNEL, funnel(after)),
        ("funnel: optimized", FUNNEL, funnel(best)),
        ("funnel: totals", FUNNEL, funnel(total)),
        ("journey edges: default", NODES, lambda frame: walk(frame, journey).edges),
        ("journey edges: start to end", NODES, lambda frame: walk(frame, way).edges),
        ("retention: first ever, weeks", facts, lambda frame: entries(frame, weeks)),
        ("retention: recurring, weeks", facts, lambda frame: entries(frame, again)),
    ]
    table = Table(
        title=f"{args.events:,} events, {args.users:,} persons, {DAYS} days, {args.threads} threads, "
        f"best of {args.repeat}\nPython {platform.python_version()}, polars {pl.__version__}, "
        f"duckdb {duckdb.__version__}, {platform.machine()}"
    )
    for title in ("kernel", "rows in", "sort and read, s", "kernel, s", "rows in a second", "rows out"):
        table.add_column(title, justify="left" if title == "kernel" else "right")
    read, frame, sort_s = "", pl.DataFrame(), 0.0
    for name, query, kernel in track(runs, console=console, description="measuring"):
        if query != read:
            begin = time.perf_counter()
            frame, read = con.sql(query).pl(), query
            sort_s = time.perf_counter() - begin
        times = []
        for _ in range(args.repeat):
            begin = time.perf_counter()
            rows = kernel(frame).height
            times.append(time.perf_counter() - begin)
        speed = f"{frame.height / min(times):,.0f}"
        table.add_row(name, f"{frame.height:,}", f"{sort_s:.2f}", f"{min(times):.2f}", speed, f"{rows:,}")
    console.print(table)


if __name__ == "__main__":
    main()
