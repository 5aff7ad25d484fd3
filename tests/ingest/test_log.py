"""The log keeps what it said it kept, and says what it lost."""

from __future__ import annotations

import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.log import LogFull, LogUnreadable, Segment, Writer, backlog, segments

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 22, 10, 0, 0, 123000, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(number: int, line_n: int = 20) -> list[bytes]:
    rng = random.Random(number)
    return [b'{"event_id":"%d-%d","x":"%032x"}' % (number, i, rng.getrandbits(128)) for i in range(line_n)]


def write(folder: Path, clock: Clock, chunk_n: int, line_n: int = 20) -> Segment:
    writer = Writer(folder, clock=clock)
    for number in range(1, chunk_n + 1):
        assert writer.append(lines(number, line_n), clock(), clock())[1] == number
    writer.close()
    (segment,) = segments(folder)
    return segment


def test_a_chunk_is_there_for_readers_as_soon_as_append_returns(tmp_path: Path, clock: Clock) -> None:
    writer = Writer(tmp_path / "log", clock=clock)
    later = START + timedelta(seconds=1)
    name, sequence = writer.append([b'{"a":1}', b'{"b":2}'], START, later)
    (segment,) = segments(tmp_path / "log")
    (chunk,) = segment.chunks(0)
    assert (segment.name, chunk.sequence) == (name, sequence) == (name, 1)
    assert (chunk.first_received_at, chunk.last_received_at, chunk.event_n) == (START, later, 2)
    assert chunk.lines == [b'{"a":1}', b'{"b":2}']
    assert chunk.damage is None
    writer.close()


def test_reading_goes_on_behind_a_sequence_number(tmp_path: Path, clock: Clock) -> None:
    segment = write(tmp_path / "log", clock, 5)
    assert [chunk.sequence for chunk in segment.chunks(3)] == [4, 5]
    assert segment.last_sequence() == 5
    assert segment.event_n(3) == 40
    assert list(segment.chunks(5)) == []


def test_a_commit_is_an_fsync(tmp_path: Path, clock: Clock) -> None:
    """kill -9 keeps the page cache, so only the setting tells whether a power cut would."""
    writer = Writer(tmp_path / "log", clock=clock)
    writer.append([b"{}"], START, START)
    opened = writer._open
    assert opened
    assert opened.con.execute("pragma synchronous").fetchone() == (2,)
    assert opened.con.execute("pragma journal_mode").fetchone() == ("wal",)
    assert opened.con.execute("pragma wal_autocheckpoint").fetchone() == (0,)
    assert not opened.con.in_transaction
    writer.close()


def test_a_segment_is_open_exactly_as_long_as_its_writer(tmp_path: Path, clock: Clock) -> None:
    writer = Writer(tmp_path / "log", clock=clock)
    writer.append([b"{}"], START, START)
    (segment,) = segments(tmp_path / "log")
    assert not segment.is_closed()
    writer.close()
    assert segment.is_closed()
    assert [path.name for path in (tmp_path / "log").iterdir()] == [segment.path.name]


def test_new_segments_come_by_size_and_by_age_and_in_order(tmp_path: Path, clock: Clock) -> None:
    writer = Writer(tmp_path / "log", clock=clock, segment_bytes=3000, segment_seconds=600)
    for number in range(4):
        writer.append(lines(number, 60), START, START)
    by_size = len(segments(tmp_path / "log"))
    clock.now += timedelta(seconds=600)
    writer.append([b"{}"], START, START)
    clock.now -= timedelta(hours=2)
    writer.append([b"{}"], START, START)
    writer.close()
    found = segments(tmp_path / "log")
    assert by_size >= 2
    assert len(found) == by_size + 2
    assert [next(segment.chunks(0)).sequence for segment in found] == [1] * len(found)
    assert len({segment.start_ms for segment in found}) == len(found)


def test_files_are_for_their_owner_only(tmp_path: Path, clock: Clock) -> None:
    writer = Writer(tmp_path / "log", clock=clock)
    writer.append([b"{}"], START, START)
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").iterdir()}
    writer.close()
    assert set(modes) == {".db", ".db-wal", ".db-shm", ".lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("bad", [[], [b"{\n}"], [b"{}", b"a\n"]])
def test_a_chunk_without_lines_or_with_torn_lines_is_not_taken(tmp_path: Path, clock: Clock, bad: list[bytes]) -> None:
    writer = Writer(tmp_path / "log", clock=clock)
    with pytest.raises(ValueError, match="chunk needs"):
        writer.append(bad, START, START)
    writer.close()


def test_a_chunk_with_a_wrong_checksum_is_set_aside_and_later_ones_go_on(tmp_path: Path, clock: Clock) -> None:
    segment = write(tmp_path / "log", clock, 3)
    con = sqlite3.connect(segment.path)
    body = bytearray(con.execute("select body from chunks where sequence = 2").fetchone()[0])
    body[30] ^= 1
    con.execute("update chunks set body = ? where sequence = 2", (bytes(body),))
    con.commit()
    con.close()
    one, two, three = segment.chunks(0)
    assert (two.sequence, two.event_n, two.lines) == (2, 20, [])
    assert two.damage == "its checksum is wrong"
    assert (one.lines, three.lines) == (lines(1), lines(3))


def test_a_missing_chunk_is_named(tmp_path: Path, clock: Clock) -> None:
    segment = write(tmp_path / "log", clock, 3)
    con = sqlite3.connect(segment.path)
    con.execute("delete from chunks where sequence = 2")
    con.commit()
    con.close()
    assert [(chunk.sequence, chunk.damage is None) for chunk in segment.chunks(0)] == [
        (1, True),
        (2, False),
        (3, True),
    ]


def flip(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(1, 40)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def truncate(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(len(content))]


def zero_tail(content: bytearray, rng: random.Random) -> bytearray:
    at = rng.randrange(len(content))
    return content[:at] + bytes(len(content) - at)


def zero_page(content: bytearray, rng: random.Random) -> bytearray:
    at = 4096 * rng.randrange(len(content) // 4096)
    content[at : at + 4096] = bytes(4096)
    return content


@pytest.mark.parametrize("harm", [flip, truncate, zero_tail, zero_page])
def test_whatever_happens_to_a_file_no_reader_fails_and_no_wrong_line_comes(
    tmp_path: Path, clock: Clock, harm: object
) -> None:
    segment = write(tmp_path / "log", clock, 60, line_n=40)
    whole = segment.path.read_bytes()
    for seed in range(10):
        segment.path.write_bytes(harm(bytearray(whole), random.Random(seed)))  # type: ignore[operator]
        for name in ("-wal", "-shm"):
            Path(f"{segment.path}{name}").unlink(missing_ok=True)
        chunks = list(segment.chunks(0))
        assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1)), seed
        for chunk in chunks:
            if chunk.damage is None:
                assert chunk.lines == lines(chunk.sequence, 40), seed
        assert len(chunks) == 60 or any(chunk.damage for chunk in chunks), seed
        assert [c.sequence for c in segment.chunks(len(chunks) - 1)] == [len(chunks)], seed


def test_most_of_a_segment_with_one_bad_page_is_read(tmp_path: Path, clock: Clock) -> None:
    segment = write(tmp_path / "log", clock, 60, line_n=40)
    content = bytearray(segment.path.read_bytes())
    content[4096 * 10 : 4096 * 11] = bytes(4096)
    segment.path.write_bytes(content)
    chunks = list(segment.chunks(0))
    damaged = [chunk.sequence for chunk in chunks if chunk.damage]
    assert len(chunks) == 60
    assert 1 <= len(damaged) <= 10


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    gone = Segment("00000000-1", tmp_path / "00000000-1.db", 1)
    with pytest.raises(LogUnreadable, match="cannot be opened"):
        list(gone.chunks(0))


def test_the_backlog_counts_segments_and_bytes(tmp_path: Path, clock: Clock) -> None:
    assert backlog(tmp_path / "log").segment_n == 0
    segment = write(tmp_path / "log", clock, 3)
    held = backlog(tmp_path / "log")
    assert (held.segment_n, held.oldest_at) == (1, START)
    assert held.byte_n >= segment.path.stat().st_size


def test_a_full_disk_refuses_keeps_what_was_there_and_goes_on_when_space_is_back(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow: first a little, then at all, then again."""
    script = """
        import resource, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from ingest.log import LogFull, Writer

        now = datetime(2026, 11, 22, tzinfo=UTC)
        writer = Writer(Path(sys.argv[1]), clock=lambda: now)
        number = 0

        def append():
            global number
            number += 1
            line = b'{"n":%d,"x":"%s"}' % (number, __import__("os").urandom(2000).hex().encode())
            try:
                print("kept", number, *writer.append([line], now, now), flush=True)
            except LogFull as error:
                assert "Free space" in str(error), error
                print("refused", number, flush=True)

        def limit(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        for _ in range(5): append()
        limit(60_000)
        for _ in range(40): append()
        limit(0)
        for _ in range(5): append()
        limit(resource.RLIM_INFINITY)
        for _ in range(5): append()
        writer.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "log")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers = [line.split() for line in done.stdout.splitlines()]
    kept = {
        (name, int(sequence)): int(number) for word, number, *at in answers if word == "kept" for name, sequence in [at]
    }
    assert [word for word, *_ in answers[:5]] == ["kept"] * 5
    assert [word for word, *_ in answers[45:50]] == ["refused"] * 5
    assert [word for word, *_ in answers[50:]] == ["kept"] * 5
    assert "refused" in [word for word, *_ in answers[5:45]]
    there = {}
    for segment in segments(tmp_path / "log"):
        assert segment.is_closed()
        for chunk in segment.chunks(0):
            assert chunk.damage is None
            there[segment.name, chunk.sequence] = int(chunk.lines[0].split(b":")[1].split(b",")[0])
    assert kept.items() <= there.items()
    assert len(set(there.values())) == len(there)
    assert not list((tmp_path / "log").glob("*.new*"))
    assert not list((tmp_path / "log").glob("*.lock"))


def test_a_failed_write_is_refused_and_its_segment_is_left(tmp_path: Path, clock: Clock) -> None:
    writer = Writer(tmp_path / "log", clock=clock)
    first, _ = writer.append([b"{}"], START, START)
    opened = writer._open
    assert opened
    opened.con.execute("create trigger broken before insert on chunks begin select raise(abort, 'EIO'); end")
    with pytest.raises(LogFull, match="EIO"):
        writer.append([b'{"lost":1}'], START, START)
    second, sequence = writer.append([b'{"kept":1}'], START, START)
    writer.close()
    assert second != first
    assert sequence == 1
    assert [chunk.lines for segment in segments(tmp_path / "log") for chunk in segment.chunks(0)] == [
        [b"{}"],
        [b'{"kept":1}'],
    ]


def test_the_folder_may_not_exist_yet_for_a_reader(tmp_path: Path) -> None:
    assert segments(tmp_path / "nowhere") == []
    assert not list(tmp_path.iterdir())
