"""Kafka away for some minutes: what clients, collector and forwarder notice, and how fast the backlog goes after.

    python bench/outage.py [--seconds 60] [--rate 500] [--volume]

Collector, forwarder and broker are processes of their own. `--rate` events arrive each second, before, while the
broker is killed for `--seconds`, and after, until the forwarder has caught up. With --volume nobody waits: what would
have arrived in that time lies in the log when the forwarder starts, and goes on arriving. The drain counts from when
the broker is up again to when less than a second of events waits; its rate is all that went through Kafka in that
time, over what arrives.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.forward import event, fill
from ingest.cursor import Status, load_status
from stack.broker import Broker

ROOT = Path(__file__).parents[1]
LOAD = ROOT / "faults" / "load.py"
EVENTS = 3  # in a request, on average
BEFORE_S = 20
SETTINGS = """
[[source]]
name = "web"
write_key = "pk_demo"
origins = ["*"]

[kafka]
bootstrap = ["{bootstrap}"]
"""


def start(home: Path, *words: str) -> subprocess.Popen[bytes]:
    with (home / f"{words[0]}.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "footfall", *words, "--home", str(home)],
            cwd=ROOT,
            start_new_session=True,
            stdout=said,
            stderr=said,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def load(home: Path, port: int, rate: float) -> subprocess.Popen[bytes]:
    """Events until it is ended; what it heard stands in ledger.txt."""
    words = ["--rate", str(rate / EVENTS), "--seconds", "86400"]
    command = [sys.executable, str(LOAD), f"http://127.0.0.1:{port}", str(home / "ledger.txt"), *words]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def answers(port: int) -> None:
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)


def status(home: Path, after: float = 0.0) -> Status:
    """What the forwarder says next of itself, at or after that time."""
    while not (found := load_status(home / "log")) or found.at.timestamp() < after:
        time.sleep(0.05)
    return found


def group_rss(process: subprocess.Popen[bytes]) -> int:
    """Bytes that a process and its children hold."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == process.pid:
                total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


class Rss:
    """The most that each process held since `begin`, looked at each second."""

    def __init__(self, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        self.at_first = {name: group_rss(each) for name, each in processes.items()}
        self.most = dict(self.at_first)
        self._ended = threading.Event()

        def watch() -> None:
            while not self._ended.wait(1):
                for name, each in processes.items():
                    self.most[name] = max(self.most[name], group_rss(each))

        threading.Thread(target=watch, daemon=True).start()

    def end(self) -> None:
        self._ended.set()


def heard(home: Path) -> list[tuple[float, float, int, int]]:
    """Of each request: when it was sent, how long it took, its status, and how many events it held."""
    found = []
    for line in (home / "ledger.txt").read_text(encoding="ascii").splitlines():
        with suppress(ValueError):  # the last line may be torn
            kind, *rest = json.loads(line)
            if kind == "heard":
                code, heard_at, sent_at, ids = rest
                found.append((sent_at, heard_at - sent_at, code, len(ids)))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--rate", type=int, default=500)
    options.add_argument("--volume", action="store_true")
    asked = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "kafka") as broker:
        home = Path(folder) / "home"
        (home / "log").mkdir(parents=True)
        (home / "footfall.toml").write_text(SETTINGS.format(bootstrap=broker.bootstrap))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = {"collector": start(home, "collect", "--port", str(port)), "forwarder": start(home, "forward")}
        answers(port)
        status(home)
        clients = load(home, port, asked.rate)
        try:
            time.sleep(BEFORE_S)
            rss = Rss(processes)
            down_at = time.time()
            broker.kill()
            if asked.volume:
                fill(home / "log", [event(n) for n in range(int(asked.rate * asked.seconds))])
            else:
                time.sleep(asked.seconds)
            broker.start()
            up_at = time.time()
            before = now = status(home, up_at - 2)
            while now.lag_n > asked.rate:
                now = status(home, now.at.timestamp() + 0.001)
                if clients.poll() is not None:
                    sys.exit("The load has ended by itself.")
            drained_at = now.at.timestamp()
            rss.end()
            time.sleep(5)
        finally:
            for process in (clients, *processes.values()):
                end(process)
        requests = heard(home)
    wrong_n = sum(not 200 <= code < 300 for sent_at, _, code, _ in requests if sent_at < drained_at)
    arrived = sum(n for sent_at, _, _, n in requests if down_at <= sent_at < drained_at) / (drained_at - down_at)
    table = Table(title=f"Kafka away for {asked.seconds:.0f} s{', by volume' if asked.volume else ''}")
    for column in ("requests", "n", "p50 ms", "p99 ms", "longest ms"):
        table.add_column(column, justify="left" if column == "requests" else "right")
    for name, since, until in (
        ("before", 0, down_at),
        ("while it is away", down_at, up_at),
        ("while the backlog goes", up_at, drained_at),
    ):
        took = sorted(1000 * each for sent_at, each, _, _ in requests if since <= sent_at < until)
        if took:
            p99 = took[min(len(took) - 1, int(0.99 * len(took)))]
            table.add_row(name, f"{len(took):,}", f"{statistics.median(took):.1f}", f"{p99:.1f}", f"{took[-1]:.0f}")
    console.print(table)
    sent_n, seconds = now.sent_n - before.sent_n, drained_at - before.at.timestamp()
    console.print(
        f"{wrong_n} requests heard something else than 2xx. {arrived:,.0f} events/s arrived; {before.lag_n:,} waited "
        f"when the broker was up; {sent_n:,} events in {seconds:.1f} s, {sent_n / seconds:,.0f} events/s, "
        f"{sent_n / seconds / arrived:.1f} times the rate of arrival."
    )
    for name, first in rss.at_first.items():
        console.print(f"{name}: {first >> 20} MiB before, at most {rss.most[name] >> 20} MiB")
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", highlight=False)


if __name__ == "__main__":
    main()
