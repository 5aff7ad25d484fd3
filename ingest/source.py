"""What landing asks of a source (the log, Kafka): batches of lines, and the positions that each batch covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

LOG = "log"  # stands for a topic where landing reads the log itself
MARK = b'"reason":'  # every reject of the collector holds it, few events do
LINES = pa.schema(
    [
        ("line", pa.large_binary()),  # null: there is none (a tombstone)
        ("part", pa.large_string()),
        ("record_offset", pa.int64()),
        ("index_in_record", pa.int32()),
        ("log_segment", pa.large_string()),  # where it stood on the log; null when `part` says it, or nobody knows
        ("log_sequence", pa.int64()),
        ("log_index", pa.int32()),
        ("record_at", pa.timestamp("us")),  # when its record was received, UTC; null: unknown
        ("why", pa.large_string()),  # null, or why it cannot be one of ours
        ("has_mark", pa.bool_()),  # MARK is somewhere in it
    ]
)


class LandingError(Exception):
    """A landing cannot go on; nothing of the batch was kept. The message says why and how to mend it."""


@dataclass(frozen=True)
class Gap:
    """Positions `start` up to `stop` of a part of the log or a topic that nobody can read any more.

    event_n: how many events were there, None where that is not known.
    """

    topic: str
    part: str
    start: int
    stop: int
    event_n: int | None
    cause: str


@dataclass(frozen=True)
class Stretch:
    """Positions `start` up to `stop` of one part: `line_n` lines were read there, and `gap` if any is missing.

    newest: the latest receipt of what was read, naive UTC. is_last: nothing more will ever come from the part;
    is_handed_on: because what it held since came to another source, from where it lands.
    """

    part: str
    start: int
    stop: int
    line_n: int = 0
    gap: Gap | None = None
    newest: datetime | None = None
    is_last: bool = False
    is_handed_on: bool = False


@dataclass(frozen=True)
class Batch:
    """Lines (see LINES) and the stretches that they come from, in the same order."""

    lines: pa.Table = field(repr=False)
    stretches: Sequence[Stretch]

    def halves(self) -> tuple[Batch, Batch] | None:
        """The batch as two of about half its lines; None when it is a single stretch."""
        if len(self.stretches) < 2:
            return None
        line_n, cut = self.stretches[0].line_n, 1
        while cut < len(self.stretches) - 1 and line_n < self.lines.num_rows // 2:
            line_n += self.stretches[cut].line_n
            cut += 1
        return (
            Batch(self.lines.slice(0, line_n), self.stretches[:cut]),
            Batch(self.lines.slice(line_n), self.stretches[cut:]),
        )


@dataclass(frozen=True)
class Position:
    """How far a part was landed, as raw.positions has it."""

    next_position: int
    is_done: bool = False
    topic_id: str | None = None
    last_received_at: datetime | None = None


@dataclass(frozen=True)
class End:
    """Where a part stands after a landing that read all of it; is_last: nothing more will come from it."""

    part: str
    next_position: int
    is_last: bool = False


class Reading(Protocol):
    """One pass over a source, up to where each part ended when the pass began.

    topic_id: what tells the topic from a later one of its name.
    upto: everything that was received before is read when the pass has ended, naive UTC; None when nobody knows.
    """

    @property
    def topic_id(self) -> str | None: ...

    @property
    def upto(self) -> datetime | None: ...

    def total(self) -> int:
        """About how many lines there are to read; asked before they are."""

    def batches(self, batch_events: int, batch_bytes: int) -> Iterator[Batch]:
        """Batches of about `batch_events` lines or `batch_bytes` bytes, whatever comes first."""

    def ends(self) -> list[End]:
        """The parts that are now read to their end. Raises what kept the pass from reading the others."""


class Source(Protocol):
    """A place to land from; `topic` is its name in raw.*."""

    topic: str

    def reading(self, positions: Mapping[str, Position], landed_at: datetime) -> AbstractContextManager[Reading]:
        """A pass that goes on behind `positions`; `landed_at` is the clock, naive UTC."""


def naive(at: datetime | None) -> datetime | None:
    """The instant as DuckDB keeps it: UTC without a zone. Without a zone it is taken as UTC already."""
    return at.astimezone(UTC).replace(tzinfo=None) if at and at.tzinfo else at
