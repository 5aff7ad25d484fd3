"""Each model's time: from nothing over a month of history, then one more day on top of it.

    python bench/models.py [--events 5000000] [--days 30] [--day 200000] [--memory-limit 1GB]

A row is read when a scan hands it out: what DuckDB can leave out by a column's least and greatest values is not read.
Events are made in SQL, straight into raw.*: visits of six events by persons of whom a tenth logs in.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from transforms.definitions import Definitions, Funnel, Journey, Retention, Site, Step
from transforms.flow import build
from transforms.publish import publish
from warehouse import Warehouse, open_warehouse

START = datetime(2026, 1, 5)
DEFINITIONS = Definitions(
    site=Site(timezone="Europe/Amsterdam"),
    funnels=(
        Funnel(
            "checkout",
            tuple(
                Step(event=name) for name in ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")
            ),
            window_us=7 * 86_400_000_000,
        ),
    ),
    retentions=(Retention("visitors", Step(page="*"), Step(page="*")),),
    journeys=(Journey("from-home", start=Step(page="/")),),
)


def make(warehouse: Warehouse, *, landing_id: int, first_day: int, days: int, events: int, persons: int) -> None:
    """Put `events` events of the days from `first_day` on into raw.*, as one landing."""
    visits = events // 6
    after = warehouse.value("select coalesce(max(last_event_no), 0) from raw.landings")
    warehouse.execute(
        """
        insert into raw.events by name
        with visits as (
            select
                i as visit,
                cast(floor(pow(random(), 2) * $persons) as bigint) as person,
                $start + to_microseconds(cast(random() * $days * 86400000000 as bigint)) as began
            from range($visits) as t(i)
        ),

        steps as (
            select visit, person, began, unnest(range(6)) as step, random() as luck
            from visits
        ),

        ordered as (
            select *, began + step * interval 40 seconds as told_at from steps order by told_at
        )

        select
            $after + row_number() over (order by told_at) as event_no,
            $landing as landing_id, 'log' as topic, 'made' as part, $landing as record_offset,
            cast(row_number() over (order by told_at) as integer) as index_in_record,
            visit * 8 + step as id_hash,
            $landing || '-' || visit || '-' || step as event_id,
            'web' as source, 'jsonl' as protocol, 'import' as ingest,
            case when step in (0, 1) then 'page' else 'track' end as type,
            case
                when step in (0, 1) then 'page'
                when step = 2 then 'Product Viewed'
                when step = 3 and luck < 0.4 then 'Product Added'
                when step = 4 and luck < 0.3 then 'Checkout Started'
                when step = 5 and luck < 0.1 then 'Order Completed'
                else 'Element Clicked'
            end as name,
            'device-' || person as anonymous_id,
            case when person % 10 = 0 and step > 2 then 'user-' || person end as user_id,
            'local' as id_kind,
            told_at as occurred_at,
            told_at as received_at,
            'https://shop.example/'
            || case step when 0 then '' when 1 then 'list' else 'product/' || visit % 500 end as url,
            case when step = 0 and visit % 3 = 0 then 'https://www.google.com/' end as referrer,
            '{"product_id": "' || visit % 500 || '", "revenue": ' || (10 + visit % 90)
            || ', "order_id": "' || visit || '"}' as properties,
            '{"ua": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/124.0.' || visit % 40
            || ' Safari/537.36", "country": "NL"}' as context
        from ordered
        """,
        {
            "persons": persons,
            "start": START + timedelta(days=first_day),
            "days": days,
            "visits": visits,
            "after": after,
            "landing": landing_id,
        },
    )
    landed_at = START + timedelta(days=first_day + days, hours=1)
    warehouse.execute(
        "insert into raw.landings values ($id, $at, $n, $n, 0, 0, 0, $first, $last)",
        {"id": landing_id, "at": landed_at, "n": visits * 6, "first": after + 1, "last": after + visits * 6},
    )
    warehouse.execute("delete from raw.clock")
    warehouse.execute("insert into raw.clock values ($at)", {"at": landed_at})


@dataclass
class Cost:
    """Of one build, by model: rows read, rows written, seconds, processor seconds; and both seconds in all."""

    read: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    written: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    clock: float = 0.0
    processor: float = 0.0


class Counted(Warehouse):
    """A warehouse that adds up the rows that scans hand out, under the name of the model that asks."""

    cost: Cost
    model: str = ""

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        rows = super().execute(sql, values)
        self._count()
        return rows

    def frame(self, sql: str, values: Mapping[str, Any] | None = None) -> pl.DataFrame:
        frame = super().frame(sql, values)
        self._count()
        return frame

    def _count(self) -> None:
        told = json.loads(self.con.get_profiling_information())
        self.cost.read[self.model] += sum(rows_scanned(operator) for operator in told.get("operator", []))


def rows_scanned(operator: dict[str, Any]) -> int:
    return int(operator.get("rows_scanned", 0)) + sum(rows_scanned(child) for child in operator.get("children", []))


def built(warehouse: Warehouse, now: datetime) -> Cost:
    """One build with its cost."""
    counted = Counted(warehouse.con, warehouse.path)
    counted.cost = cost = Cost()
    counted.con.execute("pragma enable_profiling = 'no_output'")
    counted.con.execute("set profiling_coverage = 'ALL'")

    started, used = time.perf_counter(), time.process_time()
    last = used

    def progress(model: str, _done: int, _of: int) -> None:
        nonlocal last
        cost.used[counted.model] += time.process_time() - last
        counted.model, last = model, time.process_time()

    done = build(counted, DEFINITIONS, key=b"k" * 32, now=now, progress=progress)
    cost.clock, cost.processor = time.perf_counter() - started, time.process_time() - used
    counted.con.execute("pragma disable_profiling")
    assert done is not None
    for model, rows, seconds in done.models:
        cost.written[model], cost.seconds[model] = rows, seconds
    return cost


def made_apart(path: Path, **asked: int) -> None:
    """As `make`, in a process of its own, whose memory is not that of building."""
    maker = multiprocessing.get_context("spawn").Process(target=_make, args=(path, asked))
    maker.start()
    maker.join()
    assert maker.exitcode == 0


def _make(path: Path, asked: dict[str, int]) -> None:
    with closing(open_warehouse(path)) as warehouse:
        make(warehouse, **asked)


def timed(path: Path, now: datetime, memory_limit: str | None) -> tuple[Cost, float]:
    """One build and one publication, in a file that is opened anew: the cost of the one, the seconds of the other."""
    with closing(open_warehouse(path, memory_limit=memory_limit)) as warehouse:
        cost = built(warehouse, now)
        done = publish(warehouse, path.parent, DEFINITIONS, events_days=30, version="bench", now=now)
    return cost, done.seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--day", type=int, default=200_000, help="events of the day on top")
    options.add_argument("--memory-limit", help="DuckDB's, as under [warehouse]; what Polars holds comes on top")
    asked = options.parse_args()
    persons = max(1, asked.events // 12)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warehouse.duckdb"
        now = START + timedelta(days=asked.days)
        made_apart(path, landing_id=1, first_day=0, days=asked.days, events=asked.events, persons=persons)
        whole, publish_s = timed(path, now, asked.memory_limit)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made_apart(path, landing_id=2, first_day=asked.days, days=1, events=asked.day, persons=persons)
        day, day_publish_s = timed(path, now + timedelta(days=1), asked.memory_limit)
        size = path.stat().st_size
    table = Table(title=f"Models: {asked.events:,} events of {asked.days} days, then one day of {asked.day:,}")
    for column in ("model", "written", "s", "processor s", "the day: read", "written", "s", "processor s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in whole.written:
        row: list[str] = []
        for cost in (whole, day):
            row += [f"{cost.written[model]:,}", f"{cost.seconds[model]:.1f}", f"{cost.used[model]:.1f}"]
        table.add_row(model, *row[:3], f"{day.read[model]:,}", *row[3:])
    table.add_row(
        "whole build",
        "",
        f"{whole.clock:.1f}",
        f"{whole.processor:.1f}",
        f"{sum(day.read.values()):,}",
        f"{sum(day.written.values()):,}",
        f"{day.clock:.1f}",
        f"{day.processor:.1f}",
    )
    table.add_row("publish", "", f"{publish_s:.1f}", "", "", "", f"{day_publish_s:.1f}", "")
    console.print(table)
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"duckdb {duckdb.__version__}, polars {pl.__version__}, {persons:,} persons, warehouse {size / 1e6:,.0f} MB, "
        f"most memory {most / 1024:,.0f} MiB, with the day "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
