"""kill -9: nothing that was acknowledged is missing, nothing is there twice, and the next run goes on.

The ledger is kept here, in a process that nobody kills, from what the victim said on a pipe before it died.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.from_log import FromLog
from ingest.land import land
from ingest.log import segments
from warehouse import open_warehouse

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 22, 10, tzinfo=UTC)
ROUNDS = 10

WRITER = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from ingest.log import Writer

    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    writer = Writer(Path(sys.argv[1]), clock=lambda: now, segment_bytes=20_000)
    event = (
        b'{"event_id":"%s-%d","source":"web","protocol":"segment","ingest":"live","type":"track","name":"x",'
        b'"occurred_at":"2026-11-22T10:00:00.000Z","received_at":"2026-11-22T10:00:00.000Z","title":"%s"}'
    )
    number = 0
    while True:
        lines = [event % (sys.argv[2].encode(), n, b"y" * 50) for n in range(number, number + 5)]
        print("sent", number, flush=True)
        segment, sequence = writer.append(lines, now, now)
        print("kept", number, segment, sequence, flush=True)
        number += 5
"""
LANDER = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from ingest.from_log import FromLog
    from ingest.land import land
    from warehouse import open_warehouse

    home = Path(sys.argv[1])
    warehouse = open_warehouse(home / "warehouse.duckdb", threads=1)
    print("open", flush=True)
    now = lambda: datetime(2026, 11, 22, 11, tzinfo=UTC)
    def checkpoint(done, total):
        print("batch", flush=True)
        warehouse.checkpoint()
    print(land(warehouse, FromLog(home / "log"), clock=now, batch_events=150, progress=checkpoint).read_n, flush=True)
    warehouse.close()
"""


def start(script: str, *values: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *values], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def kill_after(process: subprocess.Popen[str], word: str, count: int, seconds: float) -> list[str]:
    """Let the process say `word` `count` times, wait, kill it; all lines that it said whole."""
    assert process.stdout
    said = []
    while count and (line := process.stdout.readline()):
        said.append(line)
        count -= line.startswith(word)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said.extend(process.stdout)
    process.stdout.close()
    process.wait()
    return [line.rstrip("\n") for line in said if line.endswith("\n")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path


def test_what_a_killed_writer_acknowledged_is_there_once(home: Path) -> None:
    rng = random.Random(7)
    sent: set[str] = set()
    kept: dict[str, tuple[str, int]] = {}
    for number in range(ROUNDS):
        process = start(WRITER, str(home / "log"), f"r{number}")
        for line in kill_after(process, "kept", rng.randrange(1, 60), rng.random() / 50):
            word, first, *at = line.split()
            ids = [f"r{number}-{int(first) + n}" for n in range(5)]
            if word == "sent":
                sent.update(ids)
            else:
                kept.update(dict.fromkeys(ids, (at[0], int(at[1]))))
    assert len(kept) > 5 * ROUNDS
    found = segments(home / "log")
    assert len(found) >= ROUNDS
    assert all(segment.is_closed() for segment in found)
    for segment in found:
        chunks = list(segment.chunks(0))
        assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
        assert not [chunk.damage for chunk in chunks if chunk.damage]

    warehouse = open_warehouse(home / "warehouse.duckdb")
    land(warehouse, FromLog(home / "log"), clock=lambda: START)
    rows = warehouse.execute("select event_id, part, record_offset from raw.events")
    landed = {event_id: (part, offset) for event_id, part, offset in rows}
    assert len(rows) == len(landed)
    assert kept.items() <= landed.items()
    assert landed.keys() <= sent
    assert warehouse.value("select count(*) from raw.rejected") == 0
    assert warehouse.value("select count(*) from raw.gaps") == 0
    assert warehouse.value("select count(*) from raw.positions where not is_done") == 0
    warehouse.close()


def test_a_killed_lander_leaves_rows_and_positions_that_agree_and_the_next_goes_on(home: Path) -> None:
    rng = random.Random(11)
    process = start(WRITER, str(home / "log"), "e")
    # More than all rounds land before they are killed.
    kill_after(process, "kept", 900, 0)
    expected = sum(chunk.event_n or 0 for s in segments(home / "log") for chunk in s.chunks(0))
    kills = 0
    for _ in range(ROUNDS):
        process = start(LANDER, str(home))
        if rng.random() < 0.2:
            said = kill_after(process, "open", 1, rng.random() / 10)
        else:
            said = kill_after(process, "batch", rng.randrange(1, 3), rng.random() / 20)
        kills += not said[-1].isdigit()
        warehouse = open_warehouse(home / "warehouse.duckdb")
        rows = dict(warehouse.execute("select part, count(distinct record_offset) from raw.events group by part"))
        positions = dict(warehouse.execute("select part, next_position - 1 from raw.positions"))
        assert rows == positions
        counts = "select count(*), count(distinct event_id), (select sum(new_n) from raw.landings) from raw.events"
        row_n, id_n, new_n = warehouse.execute(counts)[0]
        assert row_n == id_n == (new_n or 0)
        assert row_n <= expected
        warehouse.close()
    assert kills >= ROUNDS // 2

    began = time.monotonic()
    warehouse = open_warehouse(home / "warehouse.duckdb")
    land(warehouse, FromLog(home / "log"), clock=lambda: START)
    assert time.monotonic() - began < 10
    assert warehouse.value("select count(distinct event_id) from raw.events") == expected
    assert warehouse.value("select sum(read_n) from raw.landings") == expected
    assert warehouse.value("select count(*) from raw.positions where not is_done") == 0
    warehouse.close()
