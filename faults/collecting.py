"""Faults of the collector: kills, power cuts, signals, and clients that send again and again."""

from __future__ import annotations

import signal
import time

from faults.oracle import judge_log
from faults.stage import Result, Stage


def killed_collector(stage: Stage) -> Result:
    """A1: kill -9 of the collector's whole group in a burst; clients go on and send again."""
    return _interrupted(stage, has_power=True)


def power_cut_at_collector(stage: Stage) -> Result:
    """A1: the same, and what no fsync had brought to the disk is gone."""
    return _interrupted(stage, has_power=False)


def _interrupted(stage: Stage, *, has_power: bool) -> Result:
    env = {} if has_power else stage.power.environment(under=stage.home / "log", slow_ms=5)
    collector, _ = stage.collect(**env)
    load = stage.load("--rate", "150", "--seconds", "1")
    time.sleep(0.1 + stage.rng.random() * 0.8)
    stage.kill(collector)
    if not has_power:
        stage.power.cut()
    collector, recovery_s = stage.collect()
    load.wait(60)
    stage.end(collector)
    ledger = stage.ledger()
    stage.check(bool(ledger.acked), "nothing was acknowledged at all")
    stage.broken += judge_log(stage.home / "log", ledger)
    stage.run("land")
    return stage.result(ledger, recovery_s)


def answers_before_sync(stage: Stage) -> Result:
    """A1: one request at a time; each 2xx leaves after a sync that is later than the last write."""
    trace = stage.folder / "trace"
    collector, recovery_s = stage.collect(**stage.power.environment(under=stage.home / "log", trace=trace))
    load = stage.load("--rate", "20", "--seconds", "1", "--one-by-one")
    load.wait(60)
    stage.end(collector)
    letters, answered_n, is_safe = trace.read_text(), 0, True
    for letter in letters:
        is_safe = letter == "s" or (is_safe and letter != "w")
        if letter == "a":
            answered_n += 1
            stage.check(is_safe, "an answer left before what it promised was synced")
    ledger = stage.ledger()
    stage.check(answered_n >= len(ledger.latencies) > 5, f"only {answered_n} answers were seen")
    stage.run("land")
    return stage.result(ledger, recovery_s)


def rolling_restarts(stage: Stage) -> Result:
    """A21: SIGHUP again and again, then SIGTERM, in a burst: no restart cuts a request off, no answer lies.

    What has just connected when the port closes for good hears nothing, and nothing is promised to it.
    """
    collector, recovery_s = stage.collect()
    load = stage.load("--rate", "100", "--seconds", "4", "--patience", "1", "--fresh")
    began = time.monotonic()
    restart_n = 0
    while time.monotonic() - began < 3:
        time.sleep(0.3 + stage.rng.random() / 3)
        collector.send_signal(signal.SIGHUP)
        restart_n += 1
    time.sleep(0.5)
    ended_at = time.time()
    stage.end(collector)
    load.wait(60)
    ledger = stage.ledger()
    cut_off_n = sum(at < ended_at for at in ledger.cut_off_at)
    stage.check(cut_off_n == 0, f"{cut_off_n} requests were cut off by a restart")
    stage.check(ledger.refused_n == 0, f"{ledger.refused_n} requests heard something else than 2xx")
    stage.check(len(ledger.latencies) > 100, "hardly any request was answered")
    stage.broken += judge_log(stage.home / "log", ledger)
    stage.run("land")
    return stage.result(ledger, recovery_s, restart_n)


def repeating_clients(stage: Stage) -> Result:
    """A15: clients send what was acknowledged again, late, out of order, partly with another payload."""
    collector, recovery_s = stage.collect()
    load = stage.load("--rate", "100", "--seconds", "1", "--repeats", "5")
    while load.poll() is None:
        stage.run("land", FOOTFALL_LAND__BATCH_EVENTS=str(stage.rng.randint(5, 500)))
    stage.end(collector)
    stage.run("land")
    ledger = stage.ledger()
    repeated_n = sum(len(hashes) > 1 for hashes in ledger.sent.values())
    stage.check(repeated_n > 20, f"only {repeated_n} events were sent again")
    return stage.result(ledger, recovery_s)
