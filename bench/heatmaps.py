"""Heatmap cells of many clicks: the model beside ClickHouse (chdb), in one process, on the same clicks.

    python bench/heatmaps.py [--clicks 20000000] [--days 30] [--pages 200] [--threads 2] [--runs 3]

Both start from what each would have stored: footfall from core.pointer and core.placements, ClickHouse from a
MergeTree table of clicks in the order in which it reads them best, with their session on the row. Both write their
cells to a table. ClickHouse is asked twice: for the formulas on raw coordinates, and for bins worked out beforehand,
as footfall has them. chdb is no part of footfall: pip install chdb, in an environment made for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from warehouse import Warehouse, open_warehouse

try:
    from chdb import session as clickhouse
except ImportError:
    sys.exit("This measurement needs ClickHouse beside footfall: pip install chdb, in an environment made for it.")

START = date(2026, 1, 5)


def make(warehouse: Warehouse, *, clicks: int, days: int, pages: int) -> None:
    """Fill core.pages, core.pointer, core.placements: visits of eight clicks on a page's 40 elements."""
    values = {"clicks": clicks, "days": days, "pages": pages, "start": START}
    warehouse.execute(
        "insert into core.pages select h, 'web', '/product/' || i "
        "from (select i, cast(hash(i) >> 1 as bigint) as h from range($pages) as t(i))",
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
            event_no, date, cast(hash(page) >> 1 as bigint) as page_key,
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
        """
        insert into core.placements by name
        select
            event_no, cast(date as timestamp) as event_at, date, 'web' as source, session_no as device_id,
            session_no as person_id, 'device' as owner_rule, session_no, session_no as view_no, null as engaged_ms,
            false as is_page, false as is_key, false as is_daily, false as is_bot
        from made
        order by event_no
        """
    )
    warehouse.execute(
        "create or replace temp table touched_dates as "
        "select distinct date, cast(date + 1 as timestamp) as ends_at from made"
    )
    warehouse.checkpoint()


def footfall(warehouse: Warehouse) -> int:
    """The model's own query, into a table of its own."""
    warehouse.execute("create or replace table cells as " + warehouse.query("marts.heatmap_cells"))
    return int(warehouse.value("select count(*) from cells"))


CELLS = """
create or replace table cells engine = MergeTree order by (source, path, date) as
select
    source, path, date,
    {band} as viewport_band,
    {layer} as layer,
    'click' as kind,
    {x} as x_bin,
    {y} as y_bin,
    sum(weight) as event_n,
    count() as raw_n,
    uniqExact(session_no) as session_n
from clicks
where not is_bot
group by source, path, date, viewport_band, layer, kind, x_bin, y_bin
"""
FORMULAS = CELLS.format(
    band="multiIf(viewport_w < 768, 'mobile', viewport_w < 1024, 'tablet', 'desktop')",
    layer="if(is_fixed, 'fixed', 'page')",
    x="toUInt8(least(floor(100 * page_x / viewport_w), 99))",
    y="toInt32(floor(page_y / 16))",
)
BINS = CELLS.format(band="band", layer="layer_no", x="x", y="y")


def load(session: clickhouse.Session, folder: Path, warehouse: Warehouse) -> None:
    """The same clicks as a MergeTree table, by way of Parquet."""
    parquet = folder / "clicks.parquet"
    warehouse.execute(
        "copy (select m.event_no, m.date, 'web' as source, '/product/' || m.page as path, m.is_fixed, m.viewport_w, "
        "cast(m.page_x as integer) as page_x, cast(m.page_y as integer) as page_y, m.session_no, false as is_bot, "
        "p.viewport_band as band, p.layer as layer_no, p.x_bin as x, p.y_bin as y, p.weight "
        "from made as m inner join core.pointer as p on m.event_no = p.event_no) "
        f"to '{parquet}' (format parquet)"
    )
    session.query(
        "create table clicks (event_no Int64, date Date, source LowCardinality(String), path LowCardinality(String), "
        "is_fixed UInt8, viewport_w Int32, page_x Int32, page_y Int32, session_no Int64, is_bot UInt8, band UInt8, "
        "layer_no UInt8, x UInt8, y Int32, weight Float64) engine = MergeTree order by (source, path, date)"
    )
    session.query(f"insert into clicks select * from file('{parquet}', Parquet)")
    session.query("optimize table clicks final")
    parquet.unlink()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processors: the latter say more on a machine that others use too."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clicks", type=int, default=20_000_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--pages", type=int, default=200)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--runs", type=int, default=3)
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
            "footfall (the model's query)": lambda: footfall(warehouse),
            "ClickHouse, formulas": lambda: session.query(FORMULAS),
            "ClickHouse, bins worked out before": lambda: session.query(BINS),
        }
        seconds: dict[str, list[tuple[float, float]]] = {each: [] for each in contestants}
        # One after the other, again and again: the machine's load falls on all alike.
        for _ in range(asked.runs):
            for each, work in contestants.items():
                seconds[each].append(timed(work))
        ours = warehouse.execute("select count(*), sum(event_n), sum(raw_n), sum(session_n) from cells")[0]
        session.query(FORMULAS)
        theirs = str(
            session.query("select count(), sum(event_n), sum(raw_n), sum(session_n) from cells", "CSV")
        ).strip()
        if [float(one) for one in theirs.split(",")] != [float(one) for one in ours]:
            sys.exit(f"The two do not count the same: footfall {ours}, ClickHouse {theirs}.")
        size = (folder / "warehouse.duckdb").stat().st_size
        warehouse.close()
    table = Table(title=f"Heatmap cells: {asked.clicks:,} clicks, {asked.days} days, {asked.pages} pages")
    for column in ("", "best s", "all s", "clicks/s", "times footfall", "processor s", "times footfall"):
        table.add_column(column, justify="left" if not column else "right")
    clock = {each: min(run[0] for run in runs) for each, runs in seconds.items()}
    processor = {each: min(run[1] for run in runs) for each, runs in seconds.items()}
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
        f"{ours[0]:,} cells, the same in both; {asked.threads} threads of {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, duckdb {duckdb.__version__}, "
        f"ClickHouse {clickhouse_version()}, warehouse {size / 1e6:,.0f} MB"
    )


def clickhouse_version() -> str:
    import chdb

    return str(getattr(chdb, "engine_version", getattr(chdb, "__version__", "?")))


if __name__ == "__main__":
    main()
