"""A real Airflow: runs through its API make the tables that the command line makes, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import duckdb
import pytest

import footfall
from stack.airflow import Airflow

PIPELINE = "footfall_pipeline"
VISITORS = 60
DAYS = ("2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19")
pytestmark = pytest.mark.timeout(900)  # a busy machine takes minutes to start Airflow
# Only these say when the work was done, and not what came out of it.
CLOCKS = {"meta.build_info"}


def footfall_does(*words: str) -> str:
    done = subprocess.run([sys.executable, footfall.__file__, *words], capture_output=True, text=True, check=True)
    return done.stdout


def events(day: str) -> list[dict[str, object]]:
    names = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")
    made: list[dict[str, object]] = []
    for who in range(VISITORS):
        about = {"anonymousId": f"device-{who}", "userId": f"user-{who}" if who % 3 == 0 else None}
        page = {"url": f"https://shop.example/product/{who}", "referrer": "https://www.google.com/"}
        at = f"{day}T10:{who:02}"
        made.append(
            {"type": "page", "timestamp": f"{at}:00Z", "messageId": f"{day}-{who}-p", "properties": page} | about
        )
        for number, name in enumerate(names[: 1 + who % 4]):
            properties = {"order_id": f"{day}-{who}", "revenue": 10 + who} if name == "Order Completed" else {}
            made.append(
                {"type": "track", "event": name, "timestamp": f"{at}:{number + 10}Z", "properties": properties}
                | {"messageId": f"{day}-{who}-{number}"}
                | about
            )
    return made


def send(url: str, batch: list[dict[str, object]]) -> None:
    body = json.dumps({"batch": batch, "writeKey": "pk_demo"}).encode()
    with urlopen(Request(f"{url}/v1/batch", body, {"Content-Type": "application/json"}), timeout=30) as answer:
        assert answer.status == 200


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home into which a collector took four days of visits, an import before and HTTP at the end; nothing landed."""
    home = tmp_path_factory.mktemp("sent") / "home"
    footfall_does("init", "--home", str(home))
    file = home.parent / "events.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for day in DAYS for each in events(day)))
    footfall_does("import", "jsonl", str(file), "--source", "web", "--home", str(home))
    with footfall._demo_collector(home) as ready:
        url = ready()
        for start in range(0, 120, 40):
            send(url, events("2026-11-20")[start : start + 40])
    return home


@pytest.fixture(scope="module")
def expected(sent: Path) -> Path:
    """What the command line makes of a copy of that home."""
    home = copy(sent, "by_hand")
    for step in ("land", "build", "publish"):
        footfall_does(step, "--home", str(home))
    return home


@pytest.fixture
def airflow(stack: Any) -> Airflow:
    client: Airflow = stack.airflow
    return client


def copy(home: Path, name: str) -> Path:
    return Path(shutil.copytree(home, home.parent / name))


def tables(home: Path, but: Collection[str] = ()) -> dict[str, list[tuple[str, ...]]]:
    """Every published table, its rows in order; `but`: columns that are left out."""
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
        names = con.execute(
            "select schema_name || '.' || table_name from duckdb_tables() where not internal"
        ).fetchall()
        return {
            name: sorted(
                tuple(map(told, row))
                for row in con.execute(
                    f"select columns(lambda name: not list_contains($but, name)) from {name}", {"but": list(but)}
                ).fetchall()
            )
            for (name,) in names
            if name not in CLOCKS
        }


def told(value: object) -> str:
    """A cell as text. Sums of floats depend in their last digits on the order in which threads add them."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def assert_same(found: Path, expected: Path, but: Collection[str] = ()) -> None:
    made, wanted = tables(found, but), tables(expected, but)
    assert made.keys() == wanted.keys()
    for name, rows in wanted.items():
        assert made[name] == rows, name
    assert len(wanted["core.events"]) > 700
    assert len(wanted["marts.traffic_daily"]) > 3


def test_a_run_makes_the_tables_that_the_command_line_makes(airflow: Airflow, sent: Path, expected: Path) -> None:
    home = copy(sent, "by_airflow")
    run = airflow.trigger(PIPELINE, home=str(home))
    assert airflow.wait(PIPELINE, run) == {"land": "success", "build": "success", "publish": "success"}
    assert_same(home, expected)
    event_n = len(tables(expected)["core.events"])
    assert f"Landed {event_n:,} events: {event_n:,} new, 0 repeated, 0 rejected." in airflow.log(PIPELINE, run, "land")
    assert "Built " in airflow.log(PIPELINE, run, "build")
    assert " s of them to open the warehouse." in airflow.log(PIPELINE, run, "publish")
    news = airflow.ask("GET", "assets/events")["asset_events"]
    assert run in {each["source_run_id"] for each in news}


@pytest.mark.parametrize("task", ["land", "build"])
def test_a_task_that_is_killed_and_cleared_makes_the_same(
    airflow: Airflow, sent: Path, expected: Path, task: str
) -> None:
    home = copy(sent, f"killed_in_{task}")
    run = airflow.trigger(PIPELINE, home=str(home))
    kill_at_work(airflow, home, run, task)
    end = time.monotonic() + 60
    while (state := airflow.tasks(PIPELINE, run)[task]) in {"running", "queued"} and time.monotonic() < end:
        time.sleep(0.2)
    assert state in {"up_for_retry", "failed"}
    airflow.clear(PIPELINE, run, task)
    assert airflow.wait(PIPELINE, run)["publish"] == "success"
    assert_same(home, expected)


def kill_at_work(airflow: Airflow, home: Path, run: str, task: str) -> None:
    """kill -9 the process that has the warehouse open while `task` runs."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        for number in holders(home / "warehouse.duckdb"):
            if airflow.tasks(PIPELINE, run)[task] == "running" and number in holders(home / "warehouse.duckdb"):
                os.kill(number, signal.SIGKILL)
                return
        time.sleep(0.002)
    raise AssertionError(f"{task} never held the warehouse")


def holders(path: Path) -> set[int]:
    """The processes that have a file open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while it is looked at
            found |= {int(process.name) for link in (process / "fd").iterdir() if link.readlink() == path}
    return found


def test_overlapping_backfills_leave_what_a_clean_run_made(airflow: Airflow, expected: Path) -> None:
    home = copy(expected, "overlapping")
    ranges = ({"since": DAYS[0], "until": DAYS[2]}, {"since": DAYS[1]}, {"until": DAYS[3]})
    runs = [airflow.trigger("footfall_backfill", home=str(home), dry_run=False, **each) for each in ranges]
    for run in runs:
        assert airflow.wait("footfall_backfill", run) == {"rebuild": "success", "publish": "success"}
    assert_same(home, expected)


def test_a_killed_scheduler_and_a_store_that_is_away_change_nothing(
    airflow: Airflow, stack: Any, sent: Path, expected: Path
) -> None:
    home = copy(sent, "killed_scheduler")
    run = airflow.trigger(PIPELINE, home=str(home))
    until(lambda: airflow.tasks(PIPELINE, run)["land"] in {"running", "success"})
    (before,) = schedulers(stack.home)
    os.kill(before, signal.SIGKILL)
    with closing(sqlite3.connect(stack.home / "airflow" / "airflow.db", timeout=60, isolation_level=None)) as store:
        store.execute("begin exclusive")
        time.sleep(8)  # longer than SQLite lets Airflow wait for it
        store.execute("rollback")
    assert set(airflow.wait(PIPELINE, run, wait_s=240).values()) == {"success"}
    assert schedulers(stack.home) - {before}
    assert_same(home, expected)


def schedulers(home: Path) -> set[int]:
    """The schedulers of the Airflow in a home of `make up`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words, given = (process / "cmdline").read_bytes().split(b"\0"), (process / "environ").read_bytes()
            if b"scheduler" in words and str(home).encode() in given:
                found.add(int(process.name))
    return found


def test_a_task_that_is_cleared_again_and_again_makes_the_same(airflow: Airflow, sent: Path, expected: Path) -> None:
    home = copy(sent, "cleared")
    run = airflow.trigger(PIPELINE, home=str(home))
    for number in range(1, 6):
        # Whatever it is doing then.
        until(lambda number=number: attempt(airflow, run, "land") >= number)  # type: ignore[misc]
        airflow.clear(PIPELINE, run, "land")
    until(lambda: attempt(airflow, run, "land") > 5)
    assert set(airflow.wait(PIPELINE, run, wait_s=240).values()) == {"success"}
    assert_same(home, expected)


def attempt(airflow: Airflow, run: str, task: str) -> int:
    return int(airflow.ask("GET", f"dags/{PIPELINE}/dagRuns/{quote(run)}/taskInstances/{task}")["try_number"])


def until(what: Callable[[], bool], wait_s: float = 120) -> None:
    end = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)
