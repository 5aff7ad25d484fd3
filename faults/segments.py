"""Faults of the log's files: one segment is damaged in every way that a disk knows."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import crc32c
import duckdb
import zstandard

from faults.oracle import chunks
from faults.stage import Result, Stage

PAGE = 4096


def flipped_chunk(stage: Stage) -> Result:
    """A7: bytes of a chunk are others, and still it decompresses: only its checksum tells."""
    return _damaged(stage, _flip_chunk)


def zeroed_page(stage: Stage) -> Result:
    """A7: a page in the middle of the file holds zeros."""
    return _damaged(stage, _zero_page)


def cut_segment(stage: Stage) -> Result:
    """A7: the file ends early."""
    return _damaged(stage, lambda stage, path: os.truncate(path, stage.rng.randrange(PAGE, path.stat().st_size)))


def zeroed_tail(stage: Stage) -> Result:
    """A7: the last part of the file holds zeros."""
    return _damaged(stage, partial(_zero_tail, suffix=""))


def zeroed_wal_tail(stage: Stage) -> Result:
    """A7: the last part of a killed writer's write-ahead file holds zeros: its last commits never were."""
    return _damaged(stage, partial(_zero_tail, suffix="-wal"), has_wal=True)


def deleted_segment(stage: Stage) -> Result:
    """A7: a segment of which a part had landed is gone: a gap with its name."""
    return _damaged(stage, lambda _, path: path.unlink(), is_half_landed=True)


def _damaged(
    stage: Stage, damage: Callable[[Stage, Path], object], *, has_wal: bool = False, is_half_landed: bool = False
) -> Result:
    """Land a log of which one segment is damaged: what SQLite reads by number must be there, the rest be named."""
    ledger = stage.write_log(3, 12, 20)
    log = stage.home / "log"
    if has_wal:
        _leave_wal(log)
    whole = chunks(log)
    path = sorted(log.glob("*.db"), key=lambda each: each.stem.split("-")[1])[stage.rng.randrange(3)]
    if is_half_landed:
        path = _land_half(stage)
    ids = {place: {json.loads(line)["event_id"] for line in lines} for place, lines in whole.items()}
    damage(stage, path)
    readable = _readable(path)
    destroyed = {place for place in whole if place[0] == path.stem and place[1] not in readable}
    began = time.monotonic()
    stage.run("land")
    recovery_s = time.monotonic() - began
    stage.check("Landed 0 events" in stage.run("land"), "landing again finds something else")
    with duckdb.connect(str(stage.warehouse)) as con:
        gaps = con.execute("select part, from_position, to_position, event_n from raw.gaps").fetchall()
    if has_wal:
        # What was cut off a write-ahead file looks like what was never written: nobody can name it.
        stage.check(not gaps, f"a torn write-ahead file is no gap: {gaps}")
    else:
        for part, sequence in destroyed:
            named = any(part == gap[0] and gap[1] <= sequence and (gap[3] is None or sequence < gap[2]) for gap in gaps)
            stage.check(named or sequence < _landed_to(stage, part), f"{part}/{sequence} is missing and not named")
    if path.exists() and not has_wal and destroyed:
        said = stage.run("doctor", "--repair")
        stage.check(path.stem in said and "set aside" in said, f"the repair does not name {path.stem}: {said[:500]}")
        stage.check(not path.exists(), "the damaged segment stays in the log")
        stage.check("nothing to repair" in stage.run("doctor", "--repair"), "repairing twice finds something else")
    gone = set().union(*(ids[place] for place in destroyed)) if destroyed else set()
    return stage.result(ledger, recovery_s, gone=gone, gap_n=None)


def _landed_to(stage: Stage, part: str) -> int:
    with duckdb.connect(str(stage.warehouse)) as con:
        rows = con.execute(
            "select max(record_offset) + 1 from raw.events where topic = 'log' and part = ?", [part]
        ).fetchall()
    return int(rows[0][0] or 1)


def _readable(path: Path) -> set[int]:
    """Sequence numbers whose rows SQLite gives, one by one, with the right checksum."""
    found = set()
    for sequence in range(1, 13):
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as con:
            rows = con.execute("select sequence, crc32c, body from chunks where sequence = ?", (sequence,)).fetchall()
            if not rows or not isinstance(rows[0][2], bytes):  # a torn row may be given with a null
                continue
            if rows[0][0] == sequence and crc32c.crc32c(rows[0][2]) == rows[0][1]:
                found.add(sequence)
    return found


def _flip_chunk(stage: Stage, path: Path) -> None:
    with closing(sqlite3.connect(path)) as con:
        rows = con.execute("select sequence, body from chunks").fetchall()
    content = bytearray(path.read_bytes())
    for _ in range(10_000):
        _, body = stage.rng.choice(rows)
        # A piece that lies in one page: long bodies are spread over several.
        start = stage.rng.randrange(10, len(body) - 40)
        at = content.find(body[start : start + 30])
        if at < 0:
            continue
        changed = bytearray(body)
        changed[start] ^= 1 << stage.rng.randrange(8)
        with suppress(zstandard.ZstdError, ValueError):
            lines = zstandard.decompress(bytes(changed)).split(b"\n")[:-1]
            if len(lines) == 20 and all("event_id" in json.loads(line) for line in lines):
                content[at] = changed[start]
                path.write_bytes(content)
                return
    raise AssertionError("no bit can be flipped without notice")


def _zero_page(stage: Stage, path: Path) -> None:
    number = stage.rng.randrange(1, path.stat().st_size // PAGE)
    with path.open("r+b") as file:
        file.seek(number * PAGE)
        file.write(bytes(PAGE))


def _zero_tail(stage: Stage, path: Path, *, suffix: str) -> None:
    path = path.with_name(path.name + suffix)
    size = path.stat().st_size
    keep = stage.rng.randrange(size // 2, size)
    with path.open("r+b") as file:
        file.seek(keep)
        file.write(bytes(size - keep))


def _leave_wal(log: Path) -> None:
    """Segments as killed writers leave them: all but the table in the write-ahead file."""
    for path in log.glob("*.db"):
        rows = []
        with closing(sqlite3.connect(path)) as con:
            rows = con.execute("select * from chunks order by sequence").fetchall()
            con.execute("delete from chunks")
            con.commit()
            con.execute("vacuum")
        left = path.with_suffix(".left")
        with closing(sqlite3.connect(path)) as con:
            con.execute("pragma wal_autocheckpoint = 0")
            for row in rows:
                con.execute("insert into chunks values (?, ?, ?, ?, ?, ?)", row)
                con.commit()
            shutil.copyfile(path, left)
            shutil.copyfile(path.with_name(path.name + "-wal"), left.with_name(left.name + "-wal"))
        left.rename(path)
        left.with_name(left.name + "-wal").rename(path.with_name(path.name + "-wal"))


def _land_half(stage: Stage) -> Path:
    """Kill landing in the middle of a segment, which is given."""
    for commit in range(stage.rng.randint(4, 10), 60, 3):
        env = stage.power.environment(die_at=commit, die_on="sync")
        stage.start("land", FOOTFALL_LAND__BATCH_EVENTS="20", **env).wait(60)
        if stage.warehouse.exists():
            with duckdb.connect(str(stage.warehouse)) as con:
                if con.execute("select 1 from duckdb_tables() where table_name = 'positions'").fetchall():
                    rows = con.execute(
                        "select part from raw.positions where next_position <= 12 and not is_done"
                    ).fetchall()
                    if rows:
                        return stage.home / "log" / f"{rows[0][0]}.db"
    raise AssertionError("no landing died in the middle of a segment")
