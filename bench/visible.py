"""From accepted to visible: how long an event takes from its 2xx to a row in bi.duckdb, on millions of others.

    python bench/visible.py [--events 5000000] [--every 5s] [--airflow] [--seconds 180]

A collector and `footfall run --every` work on a home whose last 30 days were made in SQL (bench/models.py); with
--airflow, after that, the DAG footfall_pipeline each minute. One visitor sends an event about every second, and every
new bi.duckdb is asked which of them it holds. What `run` says of its rounds, and how long Airflow's tasks took, tells
where the time goes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import duckdb
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import models
from stack.airflow import Airflow
from warehouse import open_warehouse

ROOT = Path(__file__).parents[1]
DAYS = 30
SETTINGS = """
[[source]]
name = "web"
write_key = "pk_bench"
origins = ["*"]

[[funnel]]
name = "checkout"
steps = [{ event = "Product Viewed" }, { event = "Product Added" }, { event = "Order Completed" }]

[[retention]]
name = "visitors"
start = { page = "*" }
returns = { page = "*" }

[[journey]]
name = "from-home"
start = { page = "/" }
"""
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


def footfall(home: Path, *words: str, output: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a command of footfall on the home, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "footfall", *words, "--home", str(home)],
        cwd=ROOT,
        start_new_session=True,
        stdout=output.open("wb") if output else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def make_home(home: Path, events: int) -> None:
    """A home that holds `events` events of the last 30 days, built and published."""
    footfall(home, "init").wait(60)
    (home / "footfall.toml").write_text(SETTINGS)
    models.START = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=DAYS, hours=1)
    warehouse = open_warehouse(home / "warehouse.duckdb")
    models.make(warehouse, landing_id=1, first_day=0, days=DAYS, events=events, persons=max(1, events // 12))
    warehouse.close()
    for step in ("build", "publish"):
        if footfall(home, step, output=home / f"{step}.txt").wait():
            sys.exit((home / f"{step}.txt").read_text())


def send(port: int, number: int) -> float | None:
    """Send one event; when it was accepted, or None."""
    body = {
        "writeKey": "pk_bench",
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"probe-{number}",
        "anonymousId": f"probe-{number % 7}",
        "properties": {"product_id": "1"},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/track",
        json.dumps(body).encode(),
        {"content-type": "application/json", "user-agent": AGENT},
    )
    try:
        urllib.request.urlopen(request, timeout=10).read()
    except (OSError, urllib.error.URLError):
        return None
    return time.monotonic()


def visible(bi: Path) -> set[int]:
    with duckdb.connect(str(bi), read_only=True) as con:
        rows = con.execute("select event_id from core.events where event_id like 'probe-%'").fetchall()
    return {int(row[0].removeprefix("probe-")) for row in rows}


def watch(home: Path, port: int, seconds: float, number: int) -> list[float]:
    """Send for so long, numbered on from `number`, and see each event appear; how long each took, in seconds."""
    rng = random.Random(1)
    sent: dict[int, float] = {}
    took: dict[int, float] = {}
    began, following, inode = time.monotonic(), 0.0, 0
    while len(took) < len(sent) or time.monotonic() - began < seconds:
        now = time.monotonic()
        if now - began < seconds and now >= following:
            at = send(port, number)
            if at is not None:
                sent[number] = at
            number += 1
            following = now + rng.uniform(0.5, 1.5)
        found = (home / "bi.duckdb").stat().st_ino
        if found != inode:
            inode, seen_at = found, time.monotonic()
            took |= {each: seen_at - sent[each] for each in visible(home / "bi.duckdb") & sent.keys() - took.keys()}
        if now - began > seconds + 300:
            sys.exit(f"{len(sent) - len(took)} events are not visible five minutes after the last was sent.")
        time.sleep(0.02)
    return list(took.values())


def steps(said: str) -> dict[str, list[float]]:
    """The seconds of each step, from the lines of `run`."""
    found = defaultdict(list)
    for word, pattern in (("build", r"Built .* in ([\d.]+) s"), ("publish", r"Published .* in ([\d.]+) s")):
        found[word] = [float(each) for each in re.findall(pattern, said)]
    for model, seconds in re.findall(r"longest: (\w+), ([\d.]+) s", said):
        found[f"longest model: {model}"].append(float(seconds))
    return found


def tasks(airflow: Airflow) -> dict[str, list[float]]:
    """The seconds of each task of the runs that published, and of the whole run."""
    found = defaultdict(list)
    for run in airflow.ask("GET", "dags/footfall_pipeline/dagRuns?limit=100")["dag_runs"]:
        told = airflow.ask("GET", f"dags/footfall_pipeline/dagRuns/{quote(run['dag_run_id'])}/taskInstances")
        took = {each["task_id"]: each["duration"] for each in told["task_instances"] if each["state"] == "success"}
        if run["state"] == "success" and "publish" in took:
            for name, seconds in took.items():
                found[f"task {name}"].append(float(seconds))
            begin, done = (datetime.fromisoformat(run[name]) for name in ("run_after", "end_date"))
            found["run, from when it was due"].append((done - begin).total_seconds())
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--every", default="5s")
    options.add_argument("--airflow", action="store_true")
    options.add_argument("--seconds", type=float, default=180)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_home(home, asked.events)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        collector = footfall(home, "collect", "--port", str(port))
        try:
            while send(port, -1) is None:
                time.sleep(0.2)
            run = footfall(home, "run", "--every", asked.every, output=home / "run.txt")
            try:
                took = watch(home, port, asked.seconds, 0)
            finally:
                end(run)
            show(f"run --every {asked.every}", took, steps((home / "run.txt").read_text()), asked.events)
            if asked.airflow:
                env = {"FOOTFALL_SCHEDULE": "* * * * *"}
                with Airflow(home / "airflow", home=home, is_scheduled=True, env=env) as airflow:
                    took = watch(home, port, asked.seconds, 1_000_000)
                    show("Airflow each minute", took, tasks(airflow), asked.events)
        finally:
            end(collector)


def show(clock: str, took: list[float], spent: dict[str, list[float]], events: int) -> None:
    table = Table(title=f"Accepted to visible, {len(took)} events on {events:,}, {clock}")
    table.add_column("")
    table.add_column("n", justify="right")
    table.add_column("p50 s", justify="right")
    table.add_column("p95 s", justify="right")
    for name, unsorted in {"accepted to visible": took, **spent}.items():
        if seconds := sorted(unsorted):
            p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
            table.add_row(name, f"{len(seconds)}", f"{statistics.median(seconds):.1f}", f"{p95:.1f}")
    console = Console()
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, duckdb {duckdb.__version__}")


if __name__ == "__main__":
    main()
