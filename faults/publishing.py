"""Faults of publishing: kills at any write, and readers that hold what was published."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb

from faults.oracle import Ledger
from faults.stage import Result, Stage

KILLS = 2


def killed_publisher(stage: Stage) -> Result:
    """A14: kill -9 of publishing at a random write, done by half: bi.duckdb is whole, old or new, every time."""
    ledger = _published(stage)
    kill_n = 0
    for turn in range(KILLS):
        _grow(stage, ledger)
        # Of hundreds of writes; the last turn is the rename itself.
        kinds = {"die_on": "rename", "die_at": 1} if turn == KILLS - 1 else {"die_at": stage.rng.randint(1, 400)}
        publisher = stage.start("publish", **stage.power.environment(**kinds))
        kill_n += publisher.wait(120) == -signal.SIGKILL
        _check_one_generation(stage)
    began = time.monotonic()
    stage.run("publish")
    recovery_s = time.monotonic() - began
    _check_one_generation(stage, is_newest=True)
    stage.check(not list(stage.home.glob("bi.duckdb.new*")), "a temporary file stayed behind")
    return stage.result(ledger, recovery_s, kill_n)


READER = """
    import sys, duckdb
    options = {"enable_external_access": "false", "lock_configuration": "true"}
    con = duckdb.connect(sys.argv[1], read_only=True, config=options)
    ask = lambda: con.execute(
        "select (select count(*) from core.events), (select landed_to from meta.build_info), "
        "(select count(*) from marts.traffic_daily)").fetchall()
    first = ask()
    print("open", flush=True)
    while sys.stdin.readline():
        print("same" if ask() == first else "changed", flush=True)
"""


def readers_through_publishes(stage: Stage, publishes: int = 2) -> Result:
    """A13, A14: BI holds bi.duckdb while it is published again and again: it reads one generation, and is unnoticed."""
    ledger = _published(stage)
    bi = stage.home / "bi.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(READER), str(bi)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin
        assert reader.stdout
        stage.check(reader.stdout.readline() == "open\n", "the reader cannot open bi.duckdb")
        for _ in range(publishes):
            _grow(stage, ledger)
            began = time.monotonic()
            stage.run("publish")
            recovery_s = time.monotonic() - began
            _check_one_generation(stage, is_newest=True)
            reader.stdin.write("again\n")
            reader.stdin.flush()
            stage.check(reader.stdout.readline() == "same\n", "an open reader sees another generation")
        held = _deleted_copies(reader.pid, bi)
        stage.check(held == 1, f"the reader holds {held} old copies, not 1")
        reader.stdin.close()
    return stage.result(ledger, recovery_s, publishes)


def _published(stage: Stage) -> Ledger:
    stage.env["FOOTFALL_PUBLISH__EVENTS_DAYS"] = "36500"
    ledger = stage.write_log(1, 4, 25)
    for name in ("land", "build", "publish"):
        stage.run(name)
    _check_one_generation(stage, is_newest=True)
    return ledger


def _grow(stage: Stage, ledger: Ledger) -> None:
    ledger.add(stage.write_log(1, 2, 25, first=len(ledger.sent)))
    stage.run("land")
    stage.run("build")


def _check_one_generation(stage: Stage, *, is_newest: bool = False) -> None:
    """bi.duckdb opens, and holds just the events that had landed when its build was made."""
    try:
        with duckdb.connect(str(stage.home / "bi.duckdb"), read_only=True) as con:
            query = "select landed_to, (select count(*) from core.events) from meta.build_info"
            ((landed_to, event_n),) = con.execute(query).fetchall()
    except (duckdb.Error, ValueError) as error:
        stage.check(False, f"bi.duckdb cannot be read: {error}")
        return
    with duckdb.connect(str(stage.warehouse)) as con:
        query = "select sum(new_n) filter (landing_id <= ?), max(landing_id) from raw.landings"
        ((expected, newest),) = con.execute(query, [landed_to]).fetchall()
    stage.check(event_n == expected, f"bi.duckdb holds {event_n} events of {expected}")
    stage.check(not is_newest or landed_to == newest, "the newest landing is not published")


def _deleted_copies(pid: int, path: Path) -> int:
    links = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return sum(link.startswith(str(path)) and link.endswith("(deleted)") for link in links)
