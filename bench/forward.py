"""Events a second from the log into Kafka, beside loops that only produce what is in memory already.

Run: python bench/forward.py [--events 60000] [--rounds 3]

All write the same records (key, value, four headers) to topics with six partitions of one broker that is
started for it, acknowledged by all replicas, zstd; `make kafka` brings it. They take turns. confluent-kafka
takes part where it is installed (uv pip install confluent-kafka==2.16.1). Runs on a shared machine differ by
2x and more: trust the ratios inside one table; `cpu` is processor time an event, client alone, which
neighbours disturb less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from kafka import KafkaProducer

from ingest import log
from ingest.broker import make_topic
from ingest.forward import Forwarder
from stack.broker import Broker

CHUNK = 20
PARTITIONS = 6


def event(n: int) -> bytes:
    """About 500 bytes, of one of 2,000 visitors."""
    fields = {
        "event_id": str(uuid.UUID(int=n)),
        "source": "web",
        "protocol": "segment",
        "ingest": "live",
        "type": "page",
        "name": "page",
        "occurred_at": "2026-11-22T10:00:00.000Z",
        "received_at": f"2026-11-22T10:00:00.{n % 1000:03d}Z",
        "properties": {"product_id": f"p{n % 300}", "price": n % 100},
        "context": {"ua": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "locale": "nl-NL", "screen_w": 1920},
        "anonymous_id": f"3f0e7c2a-6e0f-4f4c-8c55-{n * 7919 % 2000:012d}",
        "url": f"https://shop.example/product/{n % 300}",
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def client(broker: Broker) -> dict[str, Any]:
    return {"bootstrap_servers": [broker.bootstrap], "security_protocol": "PLAINTEXT"}


def clock() -> datetime:
    return datetime.now(UTC)


def fill(folder: Path, lines: list[bytes]) -> None:
    writer = log.Writer(folder, clock=clock)
    for at in range(0, len(lines), CHUNK):
        writer.append(lines[at : at + CHUNK], clock(), clock())
    writer.close()


def records(lines: list[bytes]) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    made = []
    for n, line in enumerate(lines):
        headers = [
            ("version", b"1"),
            ("segment", b"0123abcd-1763805600000"),
            ("sequence", b"%d" % (n // CHUNK)),
            ("index", b"%d" % (n % CHUNK)),
        ]
        made.append((line, b"web\x1f" + json.loads(line)["anonymous_id"].encode(), headers))
    return made


def forwarder(broker: Broker, topic: str, folder: Path) -> Callable[[], int]:
    one = Forwarder(folder, client=client(broker), topic=topic, clock=clock)
    return lambda: one.run(threading.Event(), drain=True).record_n


def bare(broker: Broker, topic: str, made: list[Any]) -> Callable[[], int]:
    def run() -> int:
        producer = KafkaProducer(
            **client(broker),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            batch_size=256 << 10,
            compression_type="zstd",
            max_request_size=8 << 20,
        )
        for value, key, headers in made:
            producer.send(topic, value, key, headers)
        producer.flush()
        producer.close()
        return len(made)

    return run


def confluent(broker: Broker, topic: str, made: list[Any]) -> Callable[[], int] | None:
    try:
        from confluent_kafka import Producer
    except ImportError:
        return None

    def run() -> int:
        settings = {"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "compression.type": "zstd"}
        producer = Producer(settings | {"linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
        acked = [0]

        def count(error: Any, _: Any) -> None:
            acked[0] += error is None

        for value, key, headers in made:
            producer.produce(topic, value, key, headers=headers, on_delivery=count)
            producer.poll(0)
        producer.flush()
        return acked[0]

    return run


def rates(broker: Broker, home: Path, events: int, rounds: int) -> None:
    lines = [event(n) for n in range(events)]
    made = records(lines)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        folder = home / f"log-{number}"
        fill(folder, lines)
        runs = {
            "footfall forward": lambda topic, folder=folder: forwarder(broker, topic, folder),
            "kafka-python, bare loop": lambda topic: bare(broker, topic, made),
            "confluent-kafka": lambda topic: confluent(broker, topic, made),
        }
        for name, prepare in runs.items():
            topic = f"bench-{number}-{name.split(',')[0].replace(' ', '-')}"
            make_topic(client(broker), topic, PARTITIONS)
            run = prepare(topic)
            if run is None:
                continue
            began, cpu = time.perf_counter(), time.process_time()
            done = run()
            assert done == events, f"{name}: {done} of {events}"
            found.setdefault(name, []).append(
                (events / (time.perf_counter() - began), (time.process_time() - cpu) / events * 1e6)
            )
    print(f"{events:,} events of {len(lines[0])} bytes, {rounds} rounds\n")
    print("| | events/s | against the bare loop | cpu us an event |\n|---|---|---|---|")
    base = found["kafka-python, bare loop"]
    for name, values in found.items():
        ratio = statistics.median(mine[0] / other[0] for mine, other in zip(values, base, strict=True))
        rate, cpu = (statistics.median(each[k] for each in values) for k in (0, 1))
        print(f"| {name} | {rate:,.0f} | {ratio:.2f} | {cpu:.0f} |")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--events", type=int, default=60_000)
    asked.add_argument("--rounds", type=int, default=3)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as home, Broker(Path(home) / "kafka") as broker:
        rates(broker, Path(home), given.events, given.rounds)


if __name__ == "__main__":
    main()
