"""What comes in, as it comes: reads the log beside its writer and makes one line of each event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ingest.event import Event, Fate, Rejection
from ingest.log import LogUnreadable, Segment, segments

WINDOW: Final = 256  # chunks that are read at once on the way back into the past
SHOWN_ID: Final = 8
SHOWN_TEXT: Final = 60
_METRIC: Final = re.compile(
    r'^footfall_events_total\{fate="(declined|refused)",source="([^"]*)",protocol="([^"]*)",reason="([^"]*)"\} (\d+)$',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Seen:
    """One event or reject on the log, as it is shown; times are aware UTC."""

    at: datetime
    fate: Fate
    source: str
    name: str
    path: str
    anonymous_id: str
    why: str  # of a rejection: its reason and detail

    def text(self, zone: tzinfo | None = None) -> str:
        """One line of a terminal, in the time of `zone` (None: this machine's)."""
        at = f"{self.at.astimezone(zone):%H:%M:%S.%f}"[:12]
        source, name, path, id_ = (_plain(each) for each in (self.source, self.name, self.path, self.anonymous_id))
        short = id_[:SHOWN_ID] + ("…" if len(id_) > SHOWN_ID else "")
        start = f"{at} {self.fate:<8} {_cut(source, 12):<8}"
        if self.why:
            return f"{start} {_cut(name, 24):<18} {_plain(self.why)}"
        return f"{start} {_cut(name, 24):<18} {_cut(path, SHOWN_TEXT):<28} {short}".rstrip()


@dataclass(frozen=True)
class Turned:
    """What the collector did not keep, since it was last asked: declined by policy, or refused."""

    fate: Fate
    source: str
    reason: str
    n: int

    def text(self, at: datetime, zone: tzinfo | None = None) -> str:
        source = _cut(_plain(self.source or "-"), 12)
        return f"{at.astimezone(zone):%H:%M:%S}     {self.fate:<8} {source:<8} {self.n:,} x {_plain(self.reason)}"


class Follower:
    """Reads a log folder, never changing its files. Starts behind what is there when it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}
        for segment in segments(folder):
            self._read[segment.name] = self._end(segment)

    def new(self) -> Iterator[Seen]:
        """What has come since the last call, in the order of the segments; damage is passed over."""
        found = segments(self._folder)
        for segment in found:
            after = self._read.get(segment.name, 0)
            # One that cannot be read now is tried again at the next call; it may also be gone by then.
            with suppress(LogUnreadable):
                for chunk in segment.chunks(after):
                    self._read[segment.name] = chunk.sequence
                    for line in chunk.lines:
                        if seen := read_line(line):
                            yield seen
        self._read = {segment.name: self._read.get(segment.name, 0) for segment in found}

    def past(self, n: int, wanted: Callable[[Seen], bool] = lambda _: True) -> list[Seen]:
        """The last `n` that are wanted of what was there when this was made, oldest first."""
        found: list[Seen] = []
        for segment in reversed(segments(self._folder)):
            upto = self._read.get(segment.name, 0)
            with suppress(LogUnreadable):
                while upto > 0 and len(found) < n:
                    after = max(0, upto - WINDOW)
                    chunks = (chunk for chunk in segment.chunks(after) if chunk.sequence <= upto)
                    lines = [line for chunk in chunks for line in chunk.lines]
                    found = [seen for line in lines if (seen := read_line(line)) and wanted(seen)] + found
                    upto = after
        return found[max(0, len(found) - n) :]

    @staticmethod
    def _end(segment: Segment) -> int:
        try:
            return segment.last_sequence() or 0
        except LogUnreadable:
            return 0


def read_line(line: bytes) -> Seen | None:
    """A line of the log as it is shown; None for one that is neither event nor reject."""
    try:
        # A line with a reason is a reject, all others are events.
        if line.startswith(b'{"reason":'):
            with suppress(msgspec.MsgspecError):
                return _rejected(msgspec.json.decode(line, type=Rejection))
        event = msgspec.json.decode(line, type=Event)
        return Seen(
            _instant(event.received_at),
            Fate.STORED,
            event.source,
            event.name,
            _path(event.url),
            event.anonymous_id or event.user_id or "",
            "",
        )
    except (msgspec.MsgspecError, ValueError):
        return None


def _rejected(rejection: Rejection) -> Seen:
    why = f"{rejection.reason}: {rejection.detail}"
    at, source = _instant(rejection.received_at), rejection.source or "-"
    return Seen(at, Fate.REJECTED, source, rejection.protocol or "-", "", "", why)


def turned(before: str, now: str) -> list[Turned]:
    """What was declined and refused between two answers of the collector's /metrics.

    A collector that has started anew counts from zero again: then all that it says is new.
    """
    old, new = _counts(before), _counts(now)
    if any(new.get(key, 0) < n for key, n in old.items()):
        old = {}
    return [
        Turned(Fate(fate), source, reason, n - old.get((fate, source, reason), 0))
        for (fate, source, reason), n in new.items()
        if n > old.get((fate, source, reason), 0)
    ]


def _counts(metrics: str) -> dict[tuple[str, str, str], int]:
    counts: dict[tuple[str, str, str], int] = {}
    for fate, source, _, reason, n in _METRIC.findall(metrics):
        counts[fate, source, reason] = counts.get((fate, source, reason), 0) + int(n)
    return counts


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _path(url: str | None) -> str:
    if not url:
        return ""
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return url


def _plain(text: str) -> str:
    """The text without what moves a terminal's cursor, colours it or turns its reading direction round."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
