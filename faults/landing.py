"""Faults of landing: kills at any write, a damaged write-ahead file, two landers, poison, positions set back."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb

from faults.oracle import Ledger, agree, contents
from faults.stage import Failed, Result, Stage

KILLS = 4


def killed_lander(stage: Stage) -> Result:
    """A9: kill -9 of landing at a random write or sync, a write done by half; also in COMMIT and CHECKPOINT."""
    return _killed(stage, has_power=True)


def power_cut_at_lander(stage: Stage) -> Result:
    """A9: the same, and what no fsync had brought to the disk is gone."""
    return _killed(stage, has_power=False)


def _killed(stage: Stage, *, has_power: bool) -> Result:
    ledger = stage.write_log(3, 8, 25)
    stage.env["FOOTFALL_LAND__BATCH_EVENTS"] = "75"
    kill_n = 0
    for _ in range(KILLS):
        # The first write of a new home comes late enough that the first kills hit it, too.
        lander = stage.start("land", **stage.power.environment(die_at=stage.rng.randint(1, 30)))
        kill_n += lander.wait(60) == -signal.SIGKILL
        if not has_power:
            stage.power.cut()
        if stage.warehouse.exists():
            stage.broken += agree(stage.warehouse)
    began = time.monotonic()
    stage.run("land")
    recovery_s = time.monotonic() - began
    stage.check(not list(stage.home.glob("landing-*")), "a scratch file stayed behind")
    return stage.result(ledger, recovery_s, kill_n)


def wal_cut_short(stage: Stage) -> Result:
    """A11: the tail of DuckDB's write-ahead file is missing: landing goes on by itself."""
    ledger = _with_wal(stage)
    size = stage.wal.stat().st_size
    os.truncate(stage.wal, size - stage.rng.randint(1, size // 2))
    return _replayed(stage, ledger)


def wal_flipped(stage: Stage) -> Result:
    """A11: one byte of the write-ahead file is another: landing says what to type, and that heals it."""
    ledger = _with_wal(stage)
    content = bytearray(stage.wal.read_bytes())
    # Not in the last transaction: that would only be a torn tail.
    content[stage.rng.randrange(100, len(content) // 2)] ^= 1 << stage.rng.randrange(8)
    stage.wal.write_bytes(content)
    said = stage.run("land", is_to_fail=True)
    stage.check("doctor --repair" in said, f"landing does not name doctor --repair: {said.strip()}")
    return _replayed(stage, ledger, is_to_repair=True)


def wal_deleted(stage: Stage) -> Result:
    """A11: the write-ahead file is gone: rows and positions went back together, and the log replays."""
    ledger = _with_wal(stage)
    stage.wal.unlink()
    return _replayed(stage, ledger)


def warehouse_stepped_back(stage: Stage) -> Result:
    """A11: the warehouse is older than what is published from it: noticed, said, and replayed."""
    ledger = stage.write_log(2, 8, 25)
    stage.run("land", FOOTFALL_LAND__BATCH_EVENTS="150")
    older = stage.folder / "older"
    shutil.copyfile(stage.warehouse, older)
    more = stage.write_log(2, 8, 25, first=len(ledger.sent))
    for name in ("land", "build", "publish"):
        stage.run(name)
    older.replace(stage.warehouse)
    stage.wal.unlink(missing_ok=True)
    said = stage.run("doctor", is_to_fail=True)
    stage.check("older than" in said, f"doctor does not see the step back: {said}")
    ledger.add(more)
    return _replayed(stage, ledger, is_to_repair=True)


def _with_wal(stage: Stage) -> Ledger:
    """A home whose landing was killed, with committed batches in the write-ahead file only."""
    ledger = stage.write_log(2, 8, 25)
    stage.run("land")
    ledger.add(stage.write_log(2, 20, 25, first=len(ledger.sent)))
    for commit in range(stage.rng.randint(12, 18), 60, 4):
        env = stage.power.environment(die_at=commit, die_on="sync")
        stage.start("land", FOOTFALL_LAND__BATCH_EVENTS="50", **env).wait(60)
        if stage.wal.exists() and stage.wal.stat().st_size > 10_000:
            return ledger
    raise Failed("no landing died with a write-ahead file")


def _replayed(stage: Stage, ledger: Ledger, *, is_to_repair: bool = False) -> Result:
    began = time.monotonic()
    if is_to_repair:
        stage.run("doctor", "--repair")
        recovery_s = time.monotonic() - began
        # The repair has landed what was missing: nothing is left to do.
        stage.check("Landed 0 events" in stage.run("land"), "the repair left events to land")
    else:
        stage.run("land")
        recovery_s = time.monotonic() - began
    clean = Stage(stage.folder / "clean", stage.seed, stage.tree, stage.brokers)
    shutil.copytree(stage.home / "log", clean.home / "log", dirs_exist_ok=True)
    clean.run("land")
    stage.check(
        _without_numbers(contents(stage.warehouse)) == _without_numbers(contents(clean.warehouse)),
        "the rows are not those of a landing that nothing disturbed",
    )
    return stage.result(ledger, recovery_s)


def _without_numbers(rows: list[tuple[object, ...]]) -> list[str]:
    return sorted(repr(row) for row in rows)


def segments_released_before_checkpoint(stage: Stage) -> Result:
    """A11: landing is killed as it lets segments go, and the write-ahead file is lost: the rows stay."""
    ledger = stage.write_log(3, 4, 25)
    # DuckDB unlinks files too: landing is killed later and later, until a segment has gone.
    for die_at in range(stage.rng.randint(2, 6), 20):
        env = stage.power.environment(die_at=die_at, die_on="unlink")
        stage.start("land", FOOTFALL_LOG__KEEP="1s", **env).wait(60)
        if is_released := len(list((stage.home / "log").glob("*.db"))) < 3:
            break
    stage.wal.unlink(missing_ok=True)
    stage.check(is_released, "no segment was let go")
    began = time.monotonic()
    stage.run("land", FOOTFALL_LOG__KEEP="1s")
    return stage.result(ledger, time.monotonic() - began)


OVERTAKEN = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from ingest.from_log import FromLog
    from ingest.land import LandingRefused, land
    from warehouse import open_warehouse

    home, after = Path(sys.argv[1]), int(sys.argv[2])
    slow, quick = open_warehouse(home / "warehouse.duckdb"), open_warehouse(home / "warehouse.duckdb")
    now = lambda: datetime.now(UTC)
    batches = []

    def overtake(done, total):
        batches.append(done)
        if len(batches) == after:
            land(quick, FromLog(home / "log"), clock=now)

    try:
        land(slow, FromLog(home / "log"), clock=now, batch_events=50, progress=overtake)
        print("went on")
    except LandingRefused:
        print("refused")
"""


def short_of_memory(stage: Stage) -> Result:
    """A19: memory_limit is a few MB: landing goes on, or says what to set; then the process gets no more, and dies.

    A batch for which DuckDB has no memory lands in halves; only a limit that no chunk fits into ends the landing. What
    the operating system refuses ends a library where it stands, mostly without a word: that is a kill like others.
    """
    ledger = stage.write_log(2, 60, 100)
    limit = stage.rng.choice((6, 8, 12, 13, 16))  # no chunk fits into 6 MB; into 16 fit all that were cut for it
    limits = {"FOOTFALL_WAREHOUSE__MEMORY_LIMIT": f"{limit}MB", "FOOTFALL_WAREHOUSE__THREADS": "1"}
    code, said = stage.start("land", **limits).wait(60), stage.said("land")
    is_told = code == 1 and "too little memory" in said and "raise memory_limit" in said and said.count("\n") == 1
    stage.check(code == 0 or (limit == 6 and is_told), f"with {limit} MB landing ended with {code}: {said}")
    stage.broken += agree(stage.warehouse)
    ledger.add(stage.write_log(1, 60, 100, first=len(ledger.sent)))
    lander = stage.start("land")
    time.sleep(stage.rng.uniform(0, 0.2))
    with suppress(ProcessLookupError, FileNotFoundError):
        held = int(Path(f"/proc/{lander.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = held + (stage.rng.randint(0, 64) << 20)
        resource.prlimit(lander.pid, resource.RLIMIT_AS, (most, most))
    lander.wait(60)
    stage.broken += agree(stage.warehouse)
    began = time.monotonic()
    stage.run("land")
    return stage.result(ledger, time.monotonic() - began, 2)


def overtaken_lander(stage: Stage) -> Result:
    """A12: a lander that read its positions stops, another lands all, the first goes on: it is refused."""
    ledger = stage.write_log(2, 8, 25)
    began = time.monotonic()
    said = stage.script(OVERTAKEN, str(stage.home), str(stage.rng.randint(1, 5)))
    stage.check(said.strip() == "refused", f"the lander with the old position: {said[-500:]}")
    stage.run("land")
    return stage.result(ledger, time.monotonic() - began)


def second_lander(stage: Stage) -> Result:
    """A12: a lander that is stopped holds the warehouse: the second waits, then names it; both end well."""
    ledger = stage.write_log(2, 20, 25)
    first = stage.start("land", FOOTFALL_LAND__BATCH_EVENTS="25")
    while first.poll() is None and not stage.wal.exists():
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    stage.check(first.poll() is None, "the first lander ended too soon")
    began = time.monotonic()
    said = stage.run("land", is_to_fail=True, FOOTFALL_WAREHOUSE__WAIT="1s")
    stage.check(str(first.pid) in said, f"the second lander does not name the first: {said}")
    first.send_signal(signal.SIGCONT)
    stage.check(first.wait(60) == 0, "the first lander did not end well")
    stage.run("land")
    return stage.result(ledger, time.monotonic() - began)


def opened_by_hand(stage: Stage) -> Result:
    """A13: a person has the live file open: landing waits, names who it is, and lands once they have left."""
    ledger = stage.write_log(2, 4, 25)
    stage.run("land")
    ledger.add(stage.write_log(1, 4, 25, first=len(ledger.sent)))
    script = "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(stage.warehouse)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as person:
        assert person.stdout
        person.stdout.readline()
        said = stage.run("land", is_to_fail=True, FOOTFALL_WAREHOUSE__WAIT="1s")
        stage.check(str(person.pid) in said, f"landing does not name who holds the file: {said}")
        began = time.monotonic()
        waiting = stage.start("land")
        time.sleep(stage.rng.random() * 2)
    stage.check(waiting.wait(60) == 0, "landing did not go on once the file was free")
    return stage.result(ledger, time.monotonic() - began)


def rewound_lander(stage: Stage) -> Result:
    """A15: somebody sets positions back: what is read again is found by its hash, and first payloads stay."""
    ledger = stage.write_log(3, 8, 25)
    stage.run("land", FOOTFALL_LAND__BATCH_EVENTS=str(stage.rng.randint(50, 600)))
    before = _events(stage.warehouse)
    with duckdb.connect(str(stage.warehouse)) as con:
        con.execute("update raw.positions set is_done = false, next_position = ?", [stage.rng.randint(1, 8)])
    began = time.monotonic()
    said = stage.run("land", FOOTFALL_LAND__BATCH_EVENTS=str(stage.rng.randint(50, 600)))
    recovery_s = time.monotonic() - began
    stage.check("Landed 0 events" not in said, "nothing was read again")
    stage.check(_events(stage.warehouse) == before, "the rows changed")
    return stage.result(ledger, recovery_s, is_rewound=True)


def _events(warehouse: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(warehouse)) as con:
        return con.execute("select * from raw.events order by all").fetchall()


POISON = (
    b"hello",
    b"",
    b"{}",
    b'["event_id"]',
    b'{"event_id":"\xff"}',
    b'{"event_id":"x","source":null}',
    b'{"event_id":"x","occurred_at":"yesterday"}',
    b'{"reason":7}',
    b"\x00\x01\x02",
    b'{"event_id":"x","event_id":"y"}',
    b'{"event_id": 1e400}',
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b'{"reason":' * 2000 + b"1" + b"}" * 2000,
)


def poison_on_the_log(stage: Stage) -> Result:
    """A18: lines that are no events, among good ones: one reject each, and the neighbours land."""
    bad = {number: stage.rng.choice(POISON) for number in stage.rng.sample(range(600), 20)}
    ledger = stage.write_log(3, 8, 25, bad=bad)
    began = time.monotonic()
    stage.run("land", FOOTFALL_LAND__BATCH_EVENTS=str(stage.rng.randint(50, 600)))
    return stage.result(ledger, time.monotonic() - began)
