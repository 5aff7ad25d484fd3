"""How far the forwarder has come: a durable cursor for each segment, and what others may know of it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

CURSOR: Final = "forward.json"
STATUS: Final = "forward.status.json"
RELEASED: Final = "forward.released.json"
LOCK: Final = "forward.lock"
SILENT: Final = timedelta(seconds=15)  # a forwarder that said nothing for so long does not run
LATE: Final = timedelta(seconds=15)


class CursorError(Exception):
    """The forwarder cannot keep its place in this log; the message says why and how to mend it."""


class Place(msgspec.Struct, omit_defaults=True):
    """Of one segment: all before `next_sequence` is acknowledged; `is_done`, that nothing is behind it."""

    next_sequence: int = 1
    is_done: bool = False
    newest_at: datetime | None = None  # receipt of the newest acknowledged event


class Cursor(msgspec.Struct):
    """The places in all segments of a log, of what went to one topic."""

    topic: str
    topic_id: str | None = None
    places: dict[str, Place] = {}

    def save(self, folder: Path) -> None:
        """Write it to the log's folder: whole or not at all, and on disk when this returns. Raises OSError."""
        _replace(folder / CURSOR, msgspec.json.encode(self), is_synced=True)


class Status(msgspec.Struct):
    """What a forwarder says of itself every other second; `problem` is a sentence, empty when all is well."""

    at: datetime
    problem: str
    sent_n: int  # records acknowledged since it was started
    lag_n: int  # events that are not acknowledged
    lag_bytes: int
    oldest_at: datetime | None  # receipt of the oldest of them

    def save(self, folder: Path) -> None:
        """Write it to the log's folder; a disk that does not take it is no reason to stop."""
        with suppress(OSError):
            _replace(folder / STATUS, msgspec.json.encode(self), is_synced=False)

    def trouble(self, now: datetime) -> str:
        """Why events do not get through in time, empty when they do."""
        if now - self.at > SILENT:
            return f"no forwarder has run since {self.at:%Y-%m-%d %H:%M:%S} UTC: start footfall forward"
        if self.problem:
            return self.problem
        if self.oldest_at and now - self.oldest_at > LATE:
            return f"the forwarder is {(now - self.oldest_at).total_seconds():,.0f} s behind"
        return ""


def load_cursor(folder: Path, topic: str) -> tuple[Cursor, str]:
    """The cursor of a log, and what is to be said of it, if anything.

    One that cannot be read counts as none: then all that the log holds is sent again, and lands once. Raises
    CursorError when it belongs to another topic.
    """
    path = folder / CURSOR
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Cursor)
    except FileNotFoundError:
        return Cursor(topic), ""
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
        return Cursor(topic), f"{path} cannot be read ({error}): all that the log holds is sent again."
    if found.topic != topic:
        raise CursorError(
            f"{path} says that this log goes to the topic {found.topic}, and [kafka] topic is {topic}. "
            f"Set it back; or remove {path}, and all that the log still holds goes to {topic} as well."
        )
    return found, ""


def load_status(folder: Path) -> Status | None:
    """What the forwarder of a log said last; None if there never was one."""
    try:
        return msgspec.json.decode((folder / STATUS).read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def load_released(folder: Path) -> frozenset[str]:
    """The segments that the forwarder unlinked because all of them was acknowledged, as far back as it says."""
    try:
        return frozenset(msgspec.json.decode((folder / RELEASED).read_bytes(), type=list[str]))
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return frozenset()


def save_released(folder: Path, names: Iterable[str]) -> None:
    """Say which segments are to be unlinked, before they are; on disk when this returns. Raises OSError."""
    _replace(folder / RELEASED, msgspec.json.encode(sorted(names)), is_synced=True)


class Hold:
    """The right to forward a log, for one process at a time, until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Raises CursorError when somebody has it."""
        path = folder / LOCK
        self._lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.read(self._lock, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise CursorError(
                f"Another footfall forward (process {who}) sends the log {folder} already. End it first."
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, str(os.getpid()).encode())

    def release(self) -> None:
        os.close(self._lock)


def _replace(path: Path, content: bytes, *, is_synced: bool) -> None:
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(content)
        file.flush()
        if is_synced:
            os.fsync(file.fileno())
    new.replace(path)
    if is_synced:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
