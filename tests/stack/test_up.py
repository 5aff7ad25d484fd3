"""`make up`: one home, four processes that know each other, and words that say what to do next."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import duckdb
import pytest

from tests.stack.test_airflow import DAYS, assert_same, events, footfall_does, send

ROOT = Path(__file__).parents[2]
# Numbers of events in the order in which they were read: that of Kafka's partitions is not the log's.
READING_ORDER = ("event_no", "session_no", "first_page_no")
pytestmark = pytest.mark.timeout(900)  # a busy machine takes minutes to start Airflow


def test_it_says_where_things_are_and_its_first_event_reaches_the_tables(stack: Any) -> None:
    said = (stack.home.parent / "up.log").read_text(encoding="utf-8")
    for words in (stack.collector, stack.airflow.url, "user admin, password footfall", "bi.duckdb"):
        assert words in said
    for part in ("collector", "Kafka", "forwarder", "Airflow"):
        assert f"{part} runs after " in said
    assert f"curl {stack.collector}/v1/track -u pk_demo: " in said
    event = {"event": "Hello", "anonymousId": "me", "writeKey": "pk_demo"}
    body, kind = json.dumps(event).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{stack.collector}/v1/track", body, kind), timeout=30) as answer:
        assert answer.status == 200
    run_pipeline(stack)
    with duckdb.connect(str(stack.home / "bi.duckdb"), read_only=True) as con:
        assert con.execute("select name from core.events").fetchall() == [("Hello",)]


def test_through_kafka_and_airflow_comes_what_the_command_line_makes_of_the_log(stack: Any, tmp_path: Path) -> None:
    batch = [each for day in DAYS for each in events(day)]
    for start in range(0, len(batch), 50):
        send(stack.collector, batch[start : start + 50])
    send(stack.collector, batch[:20])  # a client that repeats itself
    run_pipeline(stack)
    home = tmp_path / "home"
    shutil.copytree(stack.home / "log", home / "log", ignore=shutil.ignore_patterns("*.lock", "forward.*"))
    shutil.copy(stack.home / "secret.key", home)
    settings = (stack.home / "footfall.toml").read_text(encoding="utf-8")
    (home / "footfall.toml").write_text(settings.partition("\n[kafka]")[0], encoding="utf-8")
    for step in ("land", "build", "publish"):
        footfall_does(step, "--home", str(home))
    assert_same(stack.home, home, but=READING_ORDER)


def run_pipeline(stack: Any) -> None:
    """Wait until all is in Kafka, then have Airflow land, build and publish it."""
    end = time.monotonic() + 120
    while (forward := ready(stack.collector)["forward"])["problem"] or forward.get("lag_events") != 0:
        assert time.monotonic() < end, forward
        time.sleep(0.5)
    run = stack.airflow.trigger("footfall_pipeline")
    assert stack.airflow.wait("footfall_pipeline", run)["publish"] == "success"


def ready(url: str) -> Any:
    with urlopen(f"{url}/ready", timeout=10) as answer:
        return json.loads(answer.read())


def test_a_taken_port_is_said_before_anything_starts(stack: Any, tmp_path: Path) -> None:
    port = stack.collector.rpartition(":")[2]
    command = [sys.executable, "-m", "stack.up", "--home", str(tmp_path / "up"), "--port", port]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert port in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "up").exists()
