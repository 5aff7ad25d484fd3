"""The load: a process of its own that nobody kills, with a ledger of what it sent and what it heard.

Run: python faults/load.py URL LEDGER --seed 1 --rate 200 --seconds 2

Open loop, but for --one-by-one: requests leave at their times, answered or not. A line of the ledger is a JSON
array: before each send ["sent", id, hash, time] for each event, afterwards ["heard", status, time, sent at, ids];
status 0 means that no whole answer came. A request without 2xx is sent again until --patience seconds after the
last one.
Only the standard library, and nothing of footfall.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NAMES = ("Product Viewed", "Product Added", "Page Read", "Order Completed")
ANSWER_SECONDS = 10
IDLE_SECONDS = 2


def hash_of(name: str, anonymous_id: str, occurred_at: str, properties: Any) -> str:
    """Of what must come through unchanged."""
    text = json.dumps([name, anonymous_id, occurred_at, properties], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_event(rng: random.Random, event_id: str) -> dict[str, Any]:
    """One track call; one in fifty has a name of a wrong type and must end as a reject."""
    at = datetime.fromtimestamp(time.time() - rng.random() * 60, UTC)
    properties = {"n": rng.randrange(10**9), "price": rng.randrange(10**4) / 100, "text": rng.randbytes(20).hex()}
    return {
        "type": "track",
        "event": rng.choice(NAMES) if rng.random() > 0.02 else {"wrong": 1},
        "messageId": event_id,
        "anonymousId": f"visitor-{rng.randrange(50)}",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "properties": properties,
    }


def event_hash(event: dict[str, Any]) -> str:
    """`reject` for an event that must not become a row."""
    if not isinstance(event["event"], str):
        return "reject"
    return hash_of(event["event"], event["anonymousId"], event["timestamp"], event["properties"])


class Load:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.rng = random.Random(given.seed)
        self.address = urlsplit(given.url)
        self.ledger = given.ledger.open("a", buffering=1, encoding="ascii")
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    def note(self, *entry: Any) -> None:
        self.ledger.write(json.dumps(entry) + "\n")

    async def run(self) -> None:
        tasks = []
        began, at, number = time.time(), 0.0, 0
        while at < self.given.seconds:
            await asyncio.sleep(max(0.0, began + at - time.time()))
            ids = [f"s{self.given.seed}-{number + k}" for k in range(self.rng.randint(1, 5))]
            number += len(ids)
            events = [make_event(self.rng, each) for each in ids]
            tasks.append(asyncio.create_task(self.deliver(events, random.Random(self.rng.random()))))
            if self.given.one_by_one:
                await tasks[-1]
            at += self.rng.expovariate(self.given.rate)
        self.until = time.time() + self.given.patience
        await asyncio.gather(*tasks)

    async def deliver(self, events: list[dict[str, Any]], rng: random.Random) -> None:
        """Send until it is acknowledged; then, for --repeats, again, late, and partly with another payload."""
        while not await self.send(events):
            await asyncio.sleep(0.05 + rng.random() / 5)
            if time.time() > getattr(self, "until", float("inf")):
                return
        for _ in range(rng.randint(0, self.given.repeats)):
            await asyncio.sleep(rng.random())
            again = [
                {**event, "properties": {**event["properties"], "n": -1}} if rng.random() < 0.3 else event
                for event in events
            ]
            rng.shuffle(again)
            await self.send(again)

    async def send(self, events: list[dict[str, Any]]) -> bool:
        ids = [event["messageId"] for event in events]
        sent_at = time.time()
        for event in events:
            self.note("sent", event["messageId"], event_hash(event), sent_at)
        try:
            status = await asyncio.wait_for(self.post(json.dumps({"batch": events}).encode()), ANSWER_SECONDS)
        except ConnectionRefusedError:
            status = -1
        except (OSError, EOFError, ValueError, TimeoutError):
            status = 0
        self.note("heard", status, time.time(), sent_at, ids)
        return 200 <= status < 300

    async def post(self, body: bytes) -> int:
        key = base64.b64encode(f"{self.given.key}:".encode()).decode()
        head = (
            f"POST /v1/batch HTTP/1.1\r\nHost: {self.address.netloc}\r\nAuthorization: Basic {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"{'Connection: close' + chr(13) + chr(10) if self.given.fresh else ''}\r\n"
        )
        # One that was idle for long the collector may be closing right now; that would be no request cut off.
        while self.idle and (self.idle[-1][2] < time.time() - IDLE_SECONDS or self.idle[-1][0].at_eof()):
            self.idle.pop()[1].close()
        if self.idle and not self.given.fresh:
            reader, writer, _ = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        try:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if b": " in line)
            await reader.readexactly(int(fields[b"content-length"]))
        except BaseException:
            writer.transport.abort()
            raise
        if self.given.fresh or fields.get(b"connection") == b"close":
            writer.close()
        else:
            self.idle.append((reader, writer, time.time()))
        return int(answer.split(b" ", 2)[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=200, help="requests a second, of one to five events")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--patience", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=0, help="send each at most so often again")
    parser.add_argument("--key", default="pk_demo")
    parser.add_argument("--one-by-one", action="store_true", help="the next once the one before is answered")
    parser.add_argument("--fresh", action="store_true", help="a connection for each request")
    asyncio.run(Load(parser.parse_args()).run())
    print("sent", file=sys.stderr)


if __name__ == "__main__":
    main()
