"""Each model's time: from nothing over a month of history, then one more day on top of it.

    python bench/models.py [--events 5000000] [--days 30] [--day 200000] [--memory-limit 1GB]

Events are made in SQL, straight into raw.*: visits of six events by persons of whom a tenth logs in.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from transforms.definitions import Definitions, Funnel, Journey, Retention, Site, Step
from transforms.flow import Built, build
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


def timed(warehouse: Warehouse, home: Path, now: datetime) -> tuple[Built, float, float]:
    """One build and one publication: what the build did, and the seconds of both."""
    started = time.perf_counter()
    built = build(warehouse, DEFINITIONS, key=b"k" * 32, now=now)
    assert built is not None
    seconds = time.perf_counter() - started
    done = publish(warehouse, home, DEFINITIONS, events_days=30, version="bench", now=now)
    return built, seconds, done.seconds


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
        home = Path(folder)
        warehouse = open_warehouse(home / "warehouse.duckdb", memory_limit=asked.memory_limit)
        make(warehouse, landing_id=1, first_day=0, days=asked.days, events=asked.events, persons=persons)
        now = START + timedelta(days=asked.days)
        first = timed(warehouse, home, now)
        make(warehouse, landing_id=2, first_day=asked.days, days=1, events=asked.day, persons=persons)
        second = timed(warehouse, home, now + timedelta(days=1))
        size = (home / "warehouse.duckdb").stat().st_size
        warehouse.close()
    table = Table(title=f"Models: {asked.events:,} events of {asked.days} days, then one day of {asked.day:,}")
    for column in ("model", "rows", "s", "events/s", "rows of the day", "s of the day"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for (model, rows, seconds), (_, day_rows, day_seconds) in zip(first[0].models, second[0].models, strict=True):
        rate = f"{asked.events / max(seconds, 1e-9):,.0f}"
        table.add_row(model, f"{rows:,}", f"{seconds:.2f}", rate, f"{day_rows:,}", f"{day_seconds:.2f}")
    table.add_row("whole build", "", f"{first[1]:.2f}", f"{asked.events / first[1]:,.0f}", "", f"{second[1]:.2f}")
    table.add_row("publish", "", f"{first[2]:.2f}", "", "", f"{second[2]:.2f}")
    console.print(table)
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"duckdb {duckdb.__version__}, polars {pl.__version__}, {persons:,} persons, warehouse {size / 1e6:,.0f} MB, "
        f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB"
    )


if __name__ == "__main__":
    main()
