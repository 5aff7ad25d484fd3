"""Heatmap cells of many clicks: the model beside ClickHouse (chdb), in one process, on the same clicks.

    python bench/heatmaps.py [--clicks 20000000] [--days 30] [--pages 200] [--threads 2] [--runs 5]

Both start from the same narrow rows, with whole numbers for page, band, layer, kind and session: footfall from
core.pointer, ClickHouse from a MergeTree table in the order in which it reads them best. Both put the same cells into a
table in memory, with their texts (source, path, band, layer, kind), which ClickHouse keeps as LowCardinality and
footfall as ENUM. In turns, medians; the cells must be equal. chdb is no part of footfall: pip install chdb, in an
environment made for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from transforms.heatmaps import count_cells
from warehouse import Warehouse, open_warehouse

try:
    from chdb import session as clickhouse
except ImportError:
    sys.exit("This measurement needs ClickHouse beside footfall: pip install chdb, in an environment made for it.")

START = date(2026, 1, 5)
HORIZON = datetime(2026, 1, 20)


def make(warehouse: Warehouse, *, clicks: int, days: int, pages: int) -> None:
    """Fill core.pages and core.pointer: visits of eight clicks on a page's 40 elements."""
    values = {"clicks": clicks, "days": days, "pages": pages, "start": START}
    warehouse.execute(
        "insert into core.pages select i, 'web', '/product/' || i from range($pages) as t(i)",
        values,
    )
    warehouse.execute(
        """
        create temp table made as
        with drawn as (
            select
                i as event_no,
                $start + cast(i * $days // $clicks as integer) as date,
                -- a visit of eight clicks sees two pages
                cast(floor(pow((hash(i // 4) % 100000) / 100000.0, 2) * $pages) as bigint) as page,
                cast(floor(pow((hash(i * 7 + 1) % 100000) / 100000.0, 2) * 40) as bigint) as element,
                (hash(i // 8 * 11 + 2) % 10) as luck,
                hash(i * 13 + 3) % 40 as dx,
                hash(i * 17 + 4) % 24 as dy,
                hash(i * 19 + 5) % 20 = 0 as is_fixed
            from range($clicks) as t(i)
        )

        select
            event_no, date, page, is_fixed, event_no // 8 * 8 as session_no,
            case when luck < 5 then 390 when luck < 6 then 820 else 1440 end as viewport_w,
            hash(page * 100 + element) % 350 + dx as page_x,
            hash(page * 100 + element + 7) % 4000 + dy as page_y
        from drawn
        """,
        values,
    )
    warehouse.execute(
        """
        insert into core.pointer by name
        select
            event_no, date, page as page_no, session_no, false as is_bot,
            case viewport_w when 390 then 0 when 820 then 1 else 2 end as viewport_band,
            0 as kind, cast(is_fixed as utinyint) as layer,
            least(page_x * 100 // viewport_w, 99) as x_bin, page_y // 16 as y_bin,
            1 as weight, false as is_invalid, page_y >= 800 as is_below_fold, null as el_x_bin, null as el_y_bin,
            page_x as x, page_y as y, 0 as scroll_y, 'both' as capture, 'main > a' as selector,
            null as fingerprint, null as text
        from made
        order by event_no
        """
    )
    warehouse.execute(
        "create or replace temp table touched_dates as "
        "select distinct date, cast(date + 1 as timestamp) as ends_at from made"
    )
    warehouse.checkpoint()


def footfall(warehouse: Warehouse) -> None:
    """The model's own steps, into a table of its own."""
    with warehouse.frames(counted_cells=count_cells(warehouse, HORIZON)):
        warehouse.execute("create or replace temp table cells as " + warehouse.query("marts.heatmap_cells"))


CELLS = """
create or replace table cells engine = Memory as
select
    g.source as source, g.path as path, c.date as date,
    multiIf(c.viewport_band = 0, 'mobile', c.viewport_band = 1, 'tablet', 'desktop')::LowCardinality(String)
        as viewport_band,
    if(c.layer = 0, 'page', 'fixed')::LowCardinality(String) as layer,
    multiIf(c.kind = 0, 'click', c.kind = 1, 'move', c.kind = 2, 'rage', 'dead')::LowCardinality(String) as kind,
    toInt32(c.x_bin) as x_bin, c.y_bin as y_bin, c.event_n as event_n, c.raw_n as raw_n, c.session_n as session_n,
    c.date < toDate('2026-01-20') as is_complete
from (
    select
        date, page_no, viewport_band, layer, kind, x_bin, y_bin,
        sum(weight) as event_n, count() as raw_n, {sessions} as session_n
    from {samples}
    group by date, page_no, viewport_band, layer, kind, x_bin, y_bin
) as c
inner join pages as g on c.page_no = g.page_no
"""
DISTINCT = CELLS.format(sessions="uniqExact(session_no)", samples="clicks where not is_bot")
TWO_STEPS = CELLS.format(
    sessions="count()",
    samples="(select date, page_no, viewport_band, layer, kind, x_bin, y_bin, session_no, sum(weight) as weight, "
    "count() as n from clicks where not is_bot group by all)",
).replace("count() as raw_n", "sum(n) as raw_n")


def load(session: clickhouse.Session, folder: Path, warehouse: Warehouse) -> None:
    """The same rows as MergeTree tables, by way of Parquet."""
    clicks, pages = folder / "clicks.parquet", folder / "pages.parquet"
    warehouse.execute(
        "copy (select date, page_no, viewport_band, layer, kind, x_bin, y_bin, weight, session_no, is_bot "
        f"from core.pointer) to '{clicks}' (format parquet)"
    )
    warehouse.execute(f"copy core.pages to '{pages}' (format parquet)")
    session.query(
        "create table pages (page_no Int32, source LowCardinality(String), path LowCardinality(String)) "
        "engine = MergeTree order by page_no"
    )
    session.query(
        "create table clicks (date Date, page_no Int32, viewport_band UInt8, layer UInt8, kind UInt8, x_bin UInt8, "
        "y_bin Int32, weight Float64, session_no Int64, is_bot UInt8) engine = MergeTree order by (date, page_no)"
    )
    session.query(f"insert into pages select * from file('{pages}', Parquet)")
    session.query(f"insert into clicks select * from file('{clicks}', Parquet)")
    session.query("optimize table clicks final")
    clicks.unlink()


SUMS = """
select
    count(*), sum(event_n), sum(raw_n), sum(session_n), sum(session_n * session_n), sum(x_bin * session_n),
    sum(y_bin * raw_n), sum(length(path) * session_n), sum(length(viewport_band) * session_n * x_bin),
    sum(length(layer) * raw_n), count(distinct path), count(distinct date),
    sum(case when is_complete then raw_n else 0 end)
from cells
"""


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processors: the latter say more on a machine that others use too."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    os.environ.setdefault("POLARS_MAX_THREADS", "2")
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clicks", type=int, default=20_000_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--pages", type=int, default=200)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--runs", type=int, default=5)
    asked = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warehouse = open_warehouse(folder / "warehouse.duckdb", threads=asked.threads)
        make(warehouse, clicks=asked.clicks, days=asked.days, pages=asked.pages)
        session = clickhouse.Session(str(folder / "clickhouse"))
        session.query("create database bench")
        session.query("use bench")
        session.query(f"set max_threads = {asked.threads}")
        load(session, folder, warehouse)
        contestants: dict[str, Callable[[], object]] = {
            "footfall (the model)": lambda: footfall(warehouse),
            "ClickHouse, uniqExact": lambda: session.query(DISTINCT),
            "ClickHouse, in two steps": lambda: session.query(TWO_STEPS),
        }
        seconds: dict[str, list[tuple[float, float]]] = {each: [] for each in contestants}
        sums: dict[str, list[float]] = {}
        # One after the other, again and again: the machine's load falls on all alike. The first round warms up.
        for number in range(asked.runs + 1):
            for each, work in contestants.items():
                took = timed(work)
                if number:
                    seconds[each].append(took)
                    continue
                if work is contestants["footfall (the model)"]:
                    sums[each] = [float(one) for one in warehouse.execute(SUMS)[0]]
                else:
                    sums[each] = [float(one) for one in str(session.query(SUMS, "CSV")).strip().split(",")]
        if len({tuple(each) for each in sums.values()}) != 1:
            sys.exit(f"They do not count the same: {sums}.")
        ours = sums["footfall (the model)"]
        size = (folder / "warehouse.duckdb").stat().st_size
        warehouse.close()
    table = Table(title=f"Heatmap cells: {asked.clicks:,} clicks, {asked.days} days, {asked.pages} pages")
    for column in ("", "median s", "all s", "clicks/s", "times footfall", "processor s", "times footfall"):
        table.add_column(column, justify="left" if not column else "right")
    clock = {each: statistics.median(run[0] for run in runs) for each, runs in seconds.items()}
    processor = {each: statistics.median(run[1] for run in runs) for each, runs in seconds.items()}
    own, own_processor = next(iter(clock.values())), next(iter(processor.values()))
    for each, runs in seconds.items():
        table.add_row(
            each,
            f"{clock[each]:.2f}",
            " ".join(f"{run[0]:.2f}" for run in runs),
            f"{asked.clicks / clock[each]:,.0f}",
            f"{clock[each] / own:.2f}",
            f"{processor[each]:.2f}",
            f"{processor[each] / own_processor:.2f}",
        )
    console.print(table)
    console.print(
        f"{ours[0]:,.0f} cells, the same in all; {asked.threads} threads of {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, duckdb {duckdb.__version__}, "
        f"ClickHouse {clickhouse_version()}, warehouse {size / 1e6:,.0f} MB, "
        f"most memory held {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    )


def clickhouse_version() -> str:
    import chdb

    return str(getattr(chdb, "engine_version", getattr(chdb, "__version__", "?")))


if __name__ == "__main__":
    main()
