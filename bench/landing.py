"""Landing a backlog beside what its parts can do alone, on the same events, in turns: rows a second.

    python bench/landing.py [--rows 1000000] [--rounds 3] [--chunk 200] [--doubled 0.1] [--kafka] [--dlt PYTHON]
    python bench/landing.py --long [--rows 20000000]

From the log, the measure is DuckDB's read_json of the same lines, which lie uncompressed in one file: all 21 typed
columns of an event into a new table on disk, with a checkpoint, and one row for each (source, event_id). That is all
of it: nobody looks for copies in earlier batches, keeps a position or a reject, or makes a hash. It stands there
three times: with the first copy kept, as landing does it; with any copy kept, which is cheaper; with all copies.
Landing reads the lines from the log, compressed, in chunks, does all that it promises, and ends with a checkpoint.

--kafka: landing from a topic that the forwarder filled, beside a kafka-python consumer with landing's own settings
that only counts what it polls. It needs the broker of stack/ (make kafka).
--dlt: dlt merges the same lines on (source, event_id), in an environment made for it:
uv venv --python 3.11 DIR && uv pip install --python DIR/bin/python "dlt[duckdb]==1.31.0"
--long: landing alone, with a memory_limit of 1 GB; the last tenth of the rows beside the first.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from threading import Event as Flag
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from ingest import log
from ingest.broker import make_topic
from ingest.forward import Forwarder
from ingest.from_kafka import CONSUMER, FromKafka
from ingest.from_log import FromLog
from ingest.incoming import FIELDS
from ingest.land import land
from stack.broker import Broker
from warehouse import Warehouse, open_warehouse

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)  # within the time that a topic keeps
TOPIC, PARTITIONS = "bench", 6
PATHS = ("/", "/product/12", "/product/99", "/cart", "/checkout", "/help/returns")


def lines(row_n: int, doubled: float, seed: int, first: int = 0) -> list[bytes]:
    """Canonical events of a shop, about 420 bytes each; a share `doubled` of the lines repeats an event.

    Their clock goes on from the place of the `first` of them.
    """
    rng = random.Random(seed)
    made: list[bytes] = []
    for number in range(row_n):
        if made and rng.random() < doubled:
            made.append(made[rng.randrange(max(0, number - 1000), number)])
            continue
        path = rng.choice(PATHS)
        at = (START + timedelta(milliseconds=100 * (first + number))).isoformat(timespec="milliseconds")[:-6] + "Z"
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


def client(broker: Broker) -> dict[str, Any]:
    return {"bootstrap_servers": [broker.bootstrap], "security_protocol": "PLAINTEXT"}


def read_json(warehouse: Warehouse, path: Path, kept: str) -> None:
    """Load the lines with DuckDB alone; of each event `kept` are "the first", "any" or "all" copies."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in FIELDS.items())
    names = ", ".join(FIELDS)
    read = f"from read_json('{path}', format = 'newline_delimited', columns = {{{columns}}})"
    query = {
        "all": f"select {names} {read}",
        "any": f"select distinct on (source, event_id) {names} {read}",
        "the first": f"select {names} from (select *, row_number() over () as line_no {read}) "
        "qualify row_number() over (partition by source, event_id order by line_no) = 1",
    }[kept]
    warehouse.execute(f"create table raw.alone as {query}")
    warehouse.checkpoint()


def land_log(warehouse: Warehouse, folder: Path) -> None:
    land(warehouse, FromLog(folder), clock=lambda: START)
    warehouse.checkpoint()


def land_kafka(warehouse: Warehouse, broker: Broker, folder: Path) -> None:
    land(warehouse, FromKafka(client(broker), TOPIC, folder), clock=lambda: START)
    warehouse.checkpoint()


def consume(broker: Broker, row_n: int) -> None:
    """Poll all of the topic, and count."""
    consumer = KafkaConsumer(**client(broker), **CONSUMER)
    parts = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    consumer.assign(parts)
    for each in parts:
        consumer.seek(each, 0)
    while row_n > 0:
        row_n -= sum(map(len, consumer.poll(500).values()))
    consumer.close()


DLT = """
import json, sys, time
import dlt
import duckdb
path, home = sys.argv[1:]
pipeline = dlt.pipeline("bench", pipelines_dir=home, destination=dlt.destinations.duckdb(home + "/dlt.duckdb"))
@dlt.resource(name="events", primary_key=["source", "event_id"], write_disposition="merge", max_table_nesting=0)
def events():
    with open(path, "rb") as file:
        while lines := file.readlines(4 << 20):
            yield [json.loads(line) for line in lines]
began = time.perf_counter(), time.process_time()
pipeline.run(events())
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def load_with_dlt(python: str, path: Path) -> tuple[float, float]:
    """Wall and CPU seconds of dlt, on a new file."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([python, "-c", DLT, str(path), home], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"dlt does not run in {python}: {done.stderr.strip().splitlines()[-1]}")
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def last_beside_first(home: Path, row_n: int) -> None:
    """Land `row_n` events with a memory_limit of 1 GB, and say the rates of the first and the last tenth."""
    tenth = row_n // 10
    writer = log.Writer(home / "log", clock=lambda: START, segment_bytes=1 << 40)
    for number in range(10):
        made = lines(tenth, 0.0, seed=number, first=number * tenth)
        for first in range(0, tenth, 200):
            writer.append(made[first : first + 200], START, START)
    writer.close()
    marks = [(0, time.perf_counter(), time.process_time())]
    warehouse = open_warehouse(home / "warehouse.duckdb", memory_limit="1GB")
    land(
        warehouse,
        FromLog(home / "log"),
        clock=lambda: START,
        progress=lambda done, _: marks.append((done, time.perf_counter(), time.process_time())),
    )
    warehouse.close()
    for name, begin, end in (("first", 0, tenth), ("last", row_n - tenth, row_n)):
        (a, wall_a, cpu_a), (b, wall_b, cpu_b) = (min(marks, key=lambda mark: abs(mark[0] - at)) for at in (begin, end))
        print(
            f"{name} tenth: {(b - a) / (wall_b - wall_a):,.0f} rows/s, {1e6 * (cpu_b - cpu_a) / (b - a):.2f} CPU s per "
            f"million, load {os.getloadavg()[0]:.1f}"
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=200, help="events in a chunk of the log")
    parser.add_argument("--doubled", type=float, default=0.0, help="share of lines that repeat an event")
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--dlt", metavar="PYTHON", help="the Python of an environment that has dlt")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.long:
            last_beside_first(Path(folder), options.rows or 20_000_000)
            return
        row_n = options.rows or 1_000_000
        home = Path(folder)
        with Console().status("writing the events"):
            made = lines(row_n, options.doubled, seed=1)
            plain = home / "events.ndjson"
            plain.write_bytes(b"\n".join(made) + b"\n")
            writer = log.Writer(home / "log", clock=lambda: START)
            for first in range(0, len(made), options.chunk):
                writer.append(made[first : first + options.chunk], START, START)
            writer.close()
        ways: dict[str, Callable[[], tuple[float, float]]] = {
            f"read_json, {kept} kept": lambda kept=kept: seconds(home, lambda w: read_json(w, plain, kept))  # type: ignore[misc]
            for kept in ("any", "the first", "all")
        }
        ways["land, from the log"] = lambda: seconds(home, lambda w: land_log(w, home / "log"))
        if options.dlt:
            ways["dlt"] = lambda: load_with_dlt(options.dlt, plain)
        if options.kafka:
            broker = stack.enter_context(Broker(home / "kafka"))
            make_topic(client(broker), TOPIC, PARTITIONS)
            Forwarder(home / "log", client=client(broker), topic=TOPIC, clock=lambda: START).run(Flag(), drain=True)
            ways["kafka-python alone"] = lambda: seconds(home, lambda _: consume(broker, row_n))
            ways["land, from Kafka"] = lambda: seconds(home, lambda w: land_kafka(w, broker, home / "none"))
        takes: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                takes[name].append(way())
        byte_n = plain.stat().st_size
    print(f"{row_n:,} events of {byte_n / row_n:.0f} bytes, chunks of {options.chunk}, {options.doubled:.0%} doubled\n")
    print("| | rows/s | beside its measure | CPU s per million | beside its measure |\n|---|---|---|---|---|")
    for name, taken in takes.items():
        measure = takes["kafka-python alone" if "afka" in name else "read_json, any kept"]
        wall, cpu = (statistics.median(each[k] for each in taken) for k in (0, 1))
        by_wall, by_cpu = (
            statistics.median(other[k] / mine[k] for mine, other in zip(taken, measure, strict=True)) for k in (0, 1)
        )
        print(f"| {name} | {row_n / wall:,.0f} | {by_wall:.2f} | {1e6 * cpu / row_n:.2f} | {by_cpu:.2f} |")
    print(
        f"\nMedians of {options.rounds} rounds in turns; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, DuckDB {version('duckdb')}, {datetime.now(UTC):%Y-%m-%d}."
    )


if __name__ == "__main__":
    main()
