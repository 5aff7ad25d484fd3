"""The log as a source of landing: each segment is a part, each chunk a position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ingest import log
from ingest.cursor import load_released
from ingest.source import LINES, LOG, MARK, Batch, End, Gap, Position, Stretch, naive
from warehouse import Warehouse

PIECE_BYTES = 4 << 20


class FromLog:
    """The log in `folder`. Also a Source."""

    topic = LOG

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def reading(self, positions: Mapping[str, Position], landed_at: datetime) -> Iterator[LogReading]:
        """A pass over the segments that are not done, in order, behind `positions`."""
        yield LogReading(self._folder, positions, landed_at)


@dataclass
class _Part:
    """A segment that is not done: where to go on, and where it ended when the pass began."""

    segment: log.Segment
    next_position: int
    is_closed: bool
    end: int | None
    is_seen: bool


class LogReading:
    """A pass over the log. `ends` raises LogUnreadable when a segment could not be read; the others were."""

    topic_id: str | None = None

    def __init__(self, folder: Path, positions: Mapping[str, Position], landed_at: datetime) -> None:
        found = log.segments(folder)
        names = {segment.name for segment in found}
        self.upto: datetime | None = landed_at
        released = load_released(folder)
        self._gone = [
            _end(part, position.next_position, is_lost=part not in released)
            for part, position in sorted(positions.items())
            if not position.is_done and part not in names
        ]
        self._parts = []
        for segment in found:
            position = positions.get(segment.name, Position(1))
            if not position.is_done:
                # Closed is asked first: what a closed segment holds then is all that it will ever hold.
                is_closed = segment.is_closed()
                end = segment.last_sequence()
                self._parts.append(
                    _Part(segment, position.next_position, is_closed, end, is_seen=segment.name in positions)
                )
        self._unreadable: list[log.LogUnreadable] = []

    def total(self) -> int:
        """The lines that the segments say they hold, as far as they can be asked."""
        return sum(part.segment.event_n(part.next_position - 1) for part in self._parts)

    def batches(self, batch_events: int, batch_bytes: int) -> Iterator[Batch]:
        """Whole chunks; a segment whose file is gone ends there, as a gap if nobody can say that it is in Kafka."""
        stretches = list(self._gone)
        bodies: list[bytes] = []
        line_n = byte_n = 0
        for part in self._parts:
            try:
                for chunk in part.segment.chunks(part.next_position - 1):
                    if part.end is not None and chunk.sequence > part.end:
                        break
                    is_full = line_n + (chunk.event_n or 0) > batch_events or byte_n + len(chunk.body) > batch_bytes
                    if is_full and stretches:
                        yield _batch(stretches, bodies)
                        stretches, bodies = [], []
                        line_n = byte_n = 0
                    stretch = _stretch(part, chunk)
                    stretches.append(stretch)
                    if stretch.line_n:
                        bodies.append(chunk.body)
                    line_n += stretch.line_n
                    byte_n += len(chunk.body)
                    part.next_position, part.is_seen = stretch.stop, True
            except log.LogUnreadable as error:
                self._unreadable.append(error)
        if stretches:
            yield _batch(stretches, bodies)

    def ends(self) -> list[End]:
        """Every segment that was ever read. Raises LogUnreadable when one of them could not be."""
        if self._unreadable:
            raise self._unreadable[0]
        return [End(part.segment.name, part.next_position, part.is_closed) for part in self._parts if part.is_seen]


def release(warehouse: Warehouse, folder: Path, *, keep: timedelta, now: datetime) -> list[str]:
    """Unlink the segments that are landed to their end and older than `keep`; gives their names.

    The warehouse is checkpointed first, so that it alone can answer for what they held. A segment goes when
    it is closed, its position stands at its end, and its newest event was received before `now - keep`; one
    that a killed writer left empty goes at the same age.
    """
    before = (naive(now) or now) - keep
    done = {
        part: (next_position, last_received_at)
        for part, next_position, last_received_at in warehouse.execute(
            "select part, next_position, last_received_at from raw.positions where topic = $topic and is_done",
            {"topic": LOG},
        )
    }
    warehouse.checkpoint()
    released = []
    for segment in log.segments(folder):
        started_at = datetime.fromtimestamp(segment.start_ms / 1000, UTC).replace(tzinfo=None)
        next_position, last_received_at = done.get(segment.name, (1, None))
        if (last_received_at or started_at) >= before or not segment.is_closed():
            continue
        end = segment.last_sequence()
        is_at_end = next_position > end if end is not None else segment.name in done
        if is_at_end and (segment.name in done or end == 0):
            log.remove(segment)
            released.append(segment.name)
    return released


def _end(part: str, at: int, *, is_lost: bool) -> Stretch:
    """The end of a segment whose file is gone: lost, or handed to Kafka, from where the rest of it lands."""
    gap = Gap(LOG, part, at, at, None, "lost") if is_lost else None
    return Stretch(part, at, at, gap=gap, is_last=True, is_handed_on=not is_lost)


def _stretch(part: _Part, chunk: log.Chunk) -> Stretch:
    name, at, newest = part.segment.name, chunk.sequence, naive(chunk.last_received_at)
    if chunk.damage is None:
        return Stretch(name, at, at + 1, chunk.event_n or 0, newest=newest)
    return Stretch(name, at, at + 1, gap=Gap(LOG, name, at, at + 1, chunk.event_n, "damaged"), newest=newest)


def _batch(stretches: list[Stretch], bodies: list[bytes]) -> Batch:
    """The chunks' lines as a table: one cut of all of them together, and their places beside it."""
    read = [stretch for stretch in stretches if stretch.line_n]
    places = (
        pl.DataFrame(
            {
                "part": [stretch.part for stretch in read],
                "record_offset": [stretch.start for stretch in read],
                "line_n": [stretch.line_n for stretch in read],
                "record_at": [stretch.newest for stretch in read],
                "has_mark": [MARK in body for body in bodies],
            },
            schema_overrides={"part": pl.String, "record_offset": pl.Int64, "line_n": pl.Int64, "has_mark": pl.Boolean},
        )
        .with_columns(
            pl.col("record_at").cast(pl.Datetime("us")), index_in_record=pl.int_ranges("line_n", dtype=pl.Int32)
        )
        .explode("index_in_record", empty_as_null=False)
        .to_arrow()
    )
    columns = {
        field.name: places[field.name] if field.name in places.column_names else pa.nulls(places.num_rows, field.type)
        for field in LINES
    }
    columns["line"] = pa.chunked_array(list(_cut(bodies)), pa.large_binary())
    return Batch(pa.table([columns[field.name].cast(field.type) for field in LINES], schema=LINES), stretches)


def _cut(bodies: list[bytes]) -> Iterator[pa.Array]:
    """The lines of all bodies, some megabytes at a time: memory that is used again costs less than new."""
    piece: list[bytes] = []
    byte_n = 0
    for number, body in enumerate(bodies):
        piece.append(body)
        byte_n += len(body)
        if byte_n >= PIECE_BYTES or number == len(bodies) - 1:
            text = b"".join(piece)
            ends = pa.array([0, len(text) - 1], pa.int64()).buffers()[1]
            whole = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(text)])
            yield pc.split_pattern(whole, b"\n").flatten()
            piece, byte_n = [], 0
