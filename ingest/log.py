"""The log: what a 2xx promises lies here first, fsynced, in a folder of SQLite segments.

A segment is `<id>-<start>.db`: the writer's eight random hex digits and its start in UTC milliseconds. As
long as its writer lives, `<id>-<start>.lock` beside it is held with flock, so a reader can tell a live writer
from one that was killed. (The .db itself must never be opened by hand in a process that also has it open
through SQLite: closing that descriptor would drop SQLite's own locks.)
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import crc32c
import zstandard

NAME = re.compile(r"^([0-9a-f]{8})-(\d+)\.db$")
CREATE = """
create table chunks (
    sequence integer primary key, -- 1, 2, 3, ... without a hole
    first_received_at text not null, -- receipt of its oldest event, UTC
    last_received_at text not null, -- receipt of its newest event, UTC
    event_n integer not null, -- lines in it
    crc32c integer not null, -- of the body as stored
    body blob not null -- zstd of newline-delimited JSON
)
"""
COLUMNS = "sequence, first_received_at, last_received_at, event_n, crc32c, body"
WAITING = """
select coalesce(sum(event_n), 0), coalesce(sum(length(body)), 0), min(first_received_at)
from chunks where sequence > ?
"""
LAST = "select coalesce(max(sequence), 0) from chunks"
TEND_SECONDS = 1.0
CHECKPOINT_BYTES = 4 << 20
BLOCK_BYTES = 8 << 20
MISSES = 10_000
# What SQLite says for want of something outside the file. Anything else that it says of a file means damage.
PASSING = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
}
# A row takes more bytes than this, so a segment cannot hold a greater sequence number than its size over it.
ROW_BYTES = 64


class LogFull(Exception):
    """Nothing was written and nothing is promised: the disk is full or refused the write."""


class LogUnreadable(Exception):
    """A segment cannot be read now, and nobody can say yet that it never will be."""


@dataclass(frozen=True)
class Chunk:
    """What one commit wrote: its body, event_n lines, each with its newline; or `damage`, why it is lost.

    Times are aware UTC; they and event_n are None where the damage took them too.
    """

    sequence: int
    first_received_at: datetime | None
    last_received_at: datetime | None
    event_n: int | None
    body: bytes = field(repr=False)
    damage: str | None = None

    @property
    def lines(self) -> list[bytes]:
        """The events and rejects, one a line, without newlines."""
        return self.body.split(b"\n")[:-1]


@dataclass
class _Open:
    """A segment that is being written."""

    name: str
    path: Path
    con: sqlite3.Connection
    lock: int
    started_at: datetime
    sequence: int = 0
    byte_n: int = 0


class Writer:
    """Appends chunks to segments of its own; one for each process, from any thread of it.

    `folder` is made if it is missing. The first append starts the first segment; a new one follows after
    `segment_bytes` of bodies or `segment_seconds`, and after every failed write. `clock` gives the time, UTC.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 64 << 20,
        segment_seconds: float = 600,
        clock: Callable[[], datetime],
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._clock = clock
        self._id = secrets.token_hex(4)
        self._last_start = 0
        self._mutex = threading.Lock()
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._open: _Open | None = None
        self._retired: list[_Open] = []
        self._stop = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="footfall-log", daemon=True)
        self._tender.start()

    def append(
        self, lines: Sequence[bytes], first_received_at: datetime, last_received_at: datetime
    ) -> tuple[str, int]:
        """Write the lines as one chunk; on disk when this returns. Segment name and sequence number.

        Raises LogFull when the disk does not take it; then the chunk is not promised, and the next append
        tries a new segment. Raises ValueError without lines and for a line that holds a newline.
        """
        body = b"\n".join(lines) + b"\n"
        if not lines or body.count(b"\n") != len(lines):
            raise ValueError("A chunk needs at least one line, and a line must not hold a newline.")
        with self._mutex:
            packed = self._compressor.compress(body)
            values = (
                _text(first_received_at),
                _text(last_received_at),
                len(lines),
                crc32c.crc32c(packed),
                packed,
            )
            try:
                if self._open and self._is_due(self._open, len(packed)):
                    self._retire()
                segment = self._open = self._open or self._start()
                segment.con.execute(
                    f"insert into chunks ({COLUMNS}) values (?, ?, ?, ?, ?, ?)",
                    (segment.sequence + 1, *values),
                )
            except (sqlite3.Error, OSError) as error:
                self._abandon()
                raise LogFull(
                    f"The log {self._folder} did not take a write ({error}); nothing of it was kept. "
                    "Free space on its disk; it goes on by itself."
                ) from error
            segment.sequence += 1
            segment.byte_n += len(packed)
            return segment.name, segment.sequence

    def close(self) -> None:
        """End the segment cleanly: fold its write-ahead file in and let its lock go."""
        self._stop.set()
        self._tender.join()
        with self._mutex:
            self._retire()
            retired, self._retired = self._retired, []
        for segment in retired:
            _finish(segment)

    def _is_due(self, segment: _Open, more: int) -> bool:
        # A clock that was set back must not keep a segment open for ever: the distance counts, not the sign.
        age = abs((self._clock() - segment.started_at).total_seconds())
        is_full = segment.byte_n + more > self._segment_bytes
        return segment.sequence > 0 and (is_full or age >= self._segment_seconds)

    def _start(self) -> _Open:
        now = self._clock()
        self._last_start = max(int(now.timestamp() * 1000), self._last_start + 1)
        name = f"{self._id}-{self._last_start}"
        path = self._folder / f"{name}.db"
        new, lock_path = path.with_suffix(".new"), path.with_suffix(".lock")
        lock = None
        try:
            # The lock comes before the file and the file appears whole, by a rename: a reader never finds a
            # segment that looks dead, nor one without its table.
            lock = os.open(lock_path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            with closing(_connect(new)) as con:
                con.execute(CREATE)
                con.execute("pragma journal_mode = wal")
            new.rename(path)
            _sync_folder(self._folder)
            return _Open(name, path, _connect(path), lock, now)
        except BaseException:
            for leftover in (new, path, *_beside(new), lock_path):
                leftover.unlink(missing_ok=True)
            if lock is not None:
                os.close(lock)
            raise

    def _retire(self) -> None:
        """Take the open segment out of use; the tender closes it off the append path."""
        if self._open:
            self._retired.append(self._open)
            self._open = None

    def _abandon(self) -> None:
        """Leave a segment in which a write failed: after a failed fsync its pages may be lost."""
        segment, self._open = self._open, None
        if not segment:
            return
        with suppress(sqlite3.Error):
            segment.con.close()
        if segment.sequence == 0:
            for path in (segment.path, *_beside(segment.path)):
                path.unlink(missing_ok=True)
        _unlock(segment)

    def _tend(self) -> None:
        folded = (Path(), 0)
        while not self._stop.wait(TEND_SECONDS):
            with self._mutex:
                if self._open and self._is_due(self._open, 0):
                    self._retire()
                retired, self._retired = self._retired, []
                segment = self._open
            for old in retired:
                _finish(old)
            if not segment:
                continue
            if folded[0] != segment.path:
                folded = (segment.path, 0)
            if segment.byte_n - folded[1] >= CHECKPOINT_BYTES:
                folded = (segment.path, segment.byte_n)
                # A connection of its own, and passive: the appending one never waits for it.
                with suppress(sqlite3.Error), closing(_connect(segment.path)) as con:
                    con.execute("pragma wal_checkpoint(passive)")


@dataclass(frozen=True)
class Waiting:
    """What chunks hold: events, bytes as stored, and when the oldest event was received (aware UTC)."""

    event_n: int
    byte_n: int
    oldest_at: datetime | None


@dataclass(frozen=True)
class Segment:
    """A segment as its readers see it; reading never changes its files."""

    name: str
    path: Path
    start_ms: int

    def is_closed(self) -> bool:
        """Whether its writer ended, cleanly or not: nothing more will be written to it."""
        try:
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    def last_sequence(self) -> int | None:
        """The greatest sequence number, 0 in an empty segment, None when damage hides it."""
        try:
            with closing(self._read()) as con:
                return int(con.execute(LAST).fetchone()[0])
        except sqlite3.DatabaseError as error:
            self._raise_unless_damaged(error)
            return None

    def event_n(self, after: int) -> int:
        """How many events the chunks behind `after` say they hold; 0 when the segment cannot be asked."""
        return self.waiting(after).event_n

    def waiting(self, after: int) -> Waiting:
        """What the chunks behind `after` say they hold.

        One that is there and cannot be asked may hold events as old as itself: it counts none, since its start.
        """
        with suppress(sqlite3.DatabaseError, LogUnreadable), closing(self._read()) as con:
            event_n, byte_n, oldest = con.execute(WAITING, (after,)).fetchone()
            return Waiting(int(event_n), int(byte_n), _instant(oldest))
        return Waiting(0, 0, datetime.fromtimestamp(self.start_ms / 1000, UTC) if self.path.exists() else None)

    def chunks(self, after: int) -> Iterator[Chunk]:
        """The chunks behind sequence number `after`, in order; what is missing comes as damage.

        A live segment ends where nothing more was committed. Where the damage of a closed one hides how many
        chunks it had, one damaged chunk without an event count stands for the rest. Raises LogUnreadable when
        the file cannot be opened or read for another reason, and when it is damaged while it is written.
        """
        sequence = after
        try:
            with closing(self._read()) as con:
                greatest = self.size() // ROW_BYTES
                for row in _rows(con, after):
                    if not sequence < row[0] <= greatest:
                        raise sqlite3.DatabaseError(f"sequence number {row[0]} behind {sequence}")
                    for missing in range(sequence + 1, row[0]):
                        yield _damaged(missing, "the chunk is not in its segment")
                    sequence = row[0]
                    yield _chunk(row)
        except sqlite3.DatabaseError as error:
            self._raise_unless_damaged(error)
            if not self.is_closed():
                raise LogUnreadable(
                    f"The segment {self.path} is damaged while it is written ({error}). "
                    "What can be read of it lands once its writer has left it."
                ) from error
            yield from self._salvage(sequence, str(error))

    def _salvage(self, after: int, why: str) -> Iterator[Chunk]:
        """Behind damaged pages: one chunk at a time by its number, up to the last that answers."""
        found: dict[int, Chunk] = {}
        end = None
        with suppress(sqlite3.DatabaseError), closing(self._read()) as con:
            con.execute("select 1 from chunks limit 0")
            end = _end(con)
            end = end if end is not None and end <= self.size() // ROW_BYTES else None
            sequence, misses = after + 1, 0
            while sequence <= end if end is not None else misses < MISSES:
                row = _row(con, sequence)
                misses = 0 if row else misses + 1
                if row:
                    found[sequence] = _chunk(row)
                sequence += 1
        last = max(found, default=after) if end is None else end
        for sequence in range(after + 1, last + 1):
            yield found.get(sequence) or _damaged(sequence, f"its page cannot be read: {why}")
        if end is None:
            yield _damaged(last + 1, f"the rest of the segment cannot be read: {why}")

    def _read(self) -> sqlite3.Connection:
        try:
            con = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.OperationalError as error:
            raise LogUnreadable(f"The segment {self.path} cannot be opened: {error}.") from error
        con.text_factory = bytes
        return con

    def size(self) -> int:
        """Bytes of its files."""
        size = 0
        for path in (self.path, *_beside(self.path)):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def _raise_unless_damaged(self, error: sqlite3.DatabaseError) -> None:
        # Also one without its table is damaged: a segment appears whole.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF in PASSING and code != sqlite3.SQLITE_IOERR_SHORT_READ:
            raise LogUnreadable(f"The segment {self.path} cannot be read: {error}.") from error


@dataclass(frozen=True)
class Backlog:
    """What a log folder holds."""

    segment_n: int
    byte_n: int
    oldest_at: datetime | None


def segments(folder: Path) -> list[Segment]:
    """The segments of a log folder in the order of (start, id); none if there is no such folder."""
    found = []
    for path in folder.glob("*.db"):
        match = NAME.match(path.name)
        if match:
            found.append(Segment(path.stem, path, int(match[2])))
    return sorted(found, key=lambda segment: (segment.start_ms, segment.name))


def backlog(folder: Path) -> Backlog:
    """How many segments and bytes a log folder holds, and when the oldest segment was started (aware UTC)."""
    found = segments(folder)
    byte_n = sum(segment.size() for segment in found)
    oldest_at = datetime.fromtimestamp(found[0].start_ms / 1000, UTC) if found else None
    return Backlog(len(found), byte_n, oldest_at)


def files(segment: Segment) -> list[Path]:
    """The files of a segment, of which only the first is always there."""
    return [segment.path, *_beside(segment.path), segment.path.with_suffix(".lock")]


def remove(segment: Segment) -> None:
    """Unlink a segment with all its files. Only for one whose every event is safe elsewhere."""
    for path in files(segment):
        path.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    con.execute("pragma synchronous = full")
    con.execute("pragma wal_autocheckpoint = 0")
    return con


def _finish(segment: _Open) -> None:
    # A reader may hold the checkpoint back or the disk be full: then the write-ahead file stays.
    with suppress(sqlite3.Error):
        segment.con.execute("pragma wal_checkpoint(truncate)")
    with suppress(sqlite3.Error):
        segment.con.close()
    _unlock(segment)


def _unlock(segment: _Open) -> None:
    segment.path.with_suffix(".lock").unlink(missing_ok=True)
    os.close(segment.lock)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rows(con: sqlite3.Connection, after: int) -> Iterator[tuple[Any, ...]]:
    """Rows in blocks: between two blocks no read lock holds the writer's checkpoints back."""
    while True:
        block, byte_n = [], 0
        for row in con.execute(f"select {COLUMNS} from chunks where sequence > ? order by sequence", (after,)):
            block.append(row)
            byte_n += len(row[5]) if isinstance(row[5], bytes) else 0
            if byte_n >= BLOCK_BYTES:
                break
        if not block:
            return
        yield from block
        after = block[-1][0]


def _end(con: sqlite3.Connection) -> int | None:
    try:
        return int(con.execute(LAST).fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def _row(con: sqlite3.Connection, sequence: int) -> tuple[Any, ...] | None:
    try:
        row: tuple[Any, ...] | None = con.execute(
            f"select {COLUMNS} from chunks where sequence = ?", (sequence,)
        ).fetchone()
    except sqlite3.DatabaseError:
        return None
    return row if row and row[0] == sequence else None


def _chunk(row: tuple[Any, ...]) -> Chunk:
    sequence, first, last, event_n, checksum, body = row
    first_at, last_at = _instant(first), _instant(last)
    event_n = event_n if isinstance(event_n, int) and event_n > 0 else None
    damage = None
    plain = b""
    if not isinstance(body, bytes) or crc32c.crc32c(body) != checksum:
        damage = "its checksum is wrong"
    else:
        try:
            plain = zstandard.decompress(body)
            event_n = plain.count(b"\n")
        except zstandard.ZstdError as error:
            damage = f"it cannot be decompressed: {error}"
    return Chunk(sequence, first_at, last_at, event_n, plain, damage)


def _damaged(sequence: int, why: str) -> Chunk:
    return Chunk(sequence, None, None, None, b"", why)


def _text(at: datetime) -> str:
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instant(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.decode()) if isinstance(text, bytes) else None
        return at.astimezone(UTC) if at else None
    except (ValueError, OverflowError):
        return None
