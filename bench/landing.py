"""Landing beside read_json alone, on the same bytes, in turns: rows a second, insert and commit included.

Run by hand: python bench/landing.py [--rows 400000] [--rounds 3] [--chunk 200] [--doubled 0.0]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from ingest import log
from ingest.from_log import FromLog
from ingest.incoming import FIELDS
from ingest.land import land
from warehouse import Warehouse, open_warehouse

START = datetime(2026, 11, 1, tzinfo=UTC)
PATHS = ("/", "/product/12", "/product/99", "/cart", "/checkout", "/help/returns")


def lines(row_n: int, doubled: float, seed: int) -> list[bytes]:
    """Canonical events of a shop, about 370 bytes each; a share `doubled` of the lines repeats an event."""
    rng = random.Random(seed)
    made: list[bytes] = []
    for number in range(row_n):
        if made and rng.random() < doubled:
            made.append(made[rng.randrange(max(0, number - 1000), number)])
            continue
        path = rng.choice(PATHS)
        at = (START + timedelta(milliseconds=300 * number)).isoformat(timespec="milliseconds")[:-6] + "Z"
        event = {
            "event_id": f"{rng.getrandbits(128):032x}",
            "source": "web",
            "protocol": "segment",
            "ingest": "live",
            "type": "page",
            "name": "page",
            "anonymous_id": f"a{rng.randrange(50_000):06d}",
            "id_kind": "local",
            "occurred_at": at,
            "sent_at": at,
            "received_at": at,
            "url": f"https://shop.example{path}",
            "properties": {"price": rng.randrange(10_000) / 100},
            "context": {"ua": "Mozilla/5.0 (X11; Linux x86_64)", "locale": "nl-NL"},
        }
        made.append(msgspec.json.encode(event))
    return made


def read_json_alone(warehouse: Warehouse, path: Path) -> None:
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in FIELDS.items())
    warehouse.execute(
        f"create table raw.alone as select {', '.join(FIELDS)} "
        f"from read_json('{path}', format = 'newline_delimited', columns = {{{columns}}})"
    )


def seconds(home: Path, work: Callable[[Warehouse], object]) -> tuple[float, float]:
    """Wall and CPU seconds of `work` on a new warehouse in `home`, which is removed again."""
    path = home / "warehouse.duckdb"
    warehouse = open_warehouse(path)
    began = time.perf_counter(), time.process_time()
    work(warehouse)
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    warehouse.close()
    path.unlink()
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=200, help="events in a chunk of the log")
    parser.add_argument("--doubled", type=float, default=0.0, help="share of lines that repeat an event")
    parser.add_argument("--batch", type=int, default=200_000, help="[land] batch_events")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with console.status("writing the events"):
            made = lines(options.rows, options.doubled, seed=1)
            plain = home / "events.ndjson"
            plain.write_bytes(b"\n".join(made) + b"\n")
            writer = log.Writer(home / "log", clock=lambda: START)
            for first in range(0, len(made), options.chunk):
                writer.append(made[first : first + options.chunk], START, START)
            writer.close()
        takes: dict[str, list[tuple[float, float]]] = {"read_json alone": [], "land": []}
        for _ in range(options.rounds):
            takes["read_json alone"].append(seconds(home, lambda warehouse: read_json_alone(warehouse, plain)))
            takes["land"].append(
                seconds(home, lambda w: land(w, FromLog(home / "log"), clock=lambda: START, batch_events=options.batch))
            )
        byte_n = plain.stat().st_size
    table = Table(
        title=f"{options.rows:,} events of {byte_n / options.rows:.0f} bytes, chunks of {options.chunk}, "
        f"{options.doubled:.0%} doubled",
        caption=f"medians of {options.rounds} rounds in turns; {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, DuckDB {version('duckdb')}, {datetime.now(UTC):%Y-%m-%d}",
    )
    for column in ("", "rows/s", "best rows/s", "beside read_json", "CPU s per million", "beside read_json"):
        table.add_column(column, justify="right" if column else "left")
    walls = {name: statistics.median(wall for wall, _ in taken) for name, taken in takes.items()}
    cpus = {name: statistics.median(cpu for _, cpu in taken) for name, taken in takes.items()}
    for name, taken in takes.items():
        table.add_row(
            name,
            f"{options.rows / walls[name]:,.0f}",
            f"{options.rows / min(taken)[0]:,.0f}",
            f"{walls['read_json alone'] / walls[name]:.2f}",
            f"{1e6 * cpus[name] / options.rows:.2f}",
            f"{cpus['read_json alone'] / cpus[name]:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
