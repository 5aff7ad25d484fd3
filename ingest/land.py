"""Landing: what a source holds becomes rows, in batches that commit together with their positions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from operator import add

import duckdb
import polars as pl

from ingest.dedup import drop_tables, insert_events, insert_rejects
from ingest.incoming import UNREADABLE, Incoming
from ingest.source import LOG, Batch, End, Gap, LandingError, Position, Source, Stretch, naive
from warehouse import Warehouse

NO_CLOCK = datetime(1970, 1, 1)
# A batch of so many lines, most of which are no events, comes from somewhere that is not ours.
STRANGE_N = 1000
BATCH_BYTES = 96 << 20
# A batch takes several times its bytes of DuckDB's memory.
MEMORY_SHARE = 16

NEW = "select count(*), min(event_no), max(event_no) from raw.events where event_no > $base"
LANDING = """
insert into raw.landings values (
    $landing_id, $landed_at, $read_n, $new_n, $duplicate_n, $rejected_n, $gap_n,
    $first_event_no, $last_event_no
)
"""
ADVANCE = """
update raw.positions
set
    next_position = $stop,
    last_received_at = greatest(coalesce(last_received_at, $last_received_at), $last_received_at),
    is_done = is_done or $is_done
where topic = $topic and part = $part and next_position = $start and not is_done
"""
BEGIN = """
insert into raw.positions by name
select
    $topic as topic, $part as part, $stop as next_position, $last_received_at as last_received_at,
    $is_done as is_done, $topic_id as topic_id
where not exists (select 1 from raw.positions where topic = $topic and part = $part)
"""
CATCH_UP = """
update raw.positions
set caught_up_at = coalesce($upto, caught_up_at), is_done = ends.is_last
from ends
where
    positions.topic = $topic and positions.part = ends.part and positions.next_position = ends.next_position
    and not positions.is_done
"""
# What another source left open is read no more there: what came to it until then has landed from here.
CATCH_UP_OTHERS = """
update raw.positions set caught_up_at = $upto where topic != $topic and not is_done and $upto is not null
"""


class LandingRefused(LandingError):
    """Another landing moved the positions meanwhile: this one kept nothing of its batch."""


class LandingTooLarge(LandingError):
    """The memory does not suffice to commit the batch; nothing of it was kept."""


@dataclass(frozen=True)
class Landed:
    """What a landing did: events read = new + duplicate + rejected; hole_n gaps, gap_n events in them if known.

    handed_on_n: parts that end because what they held came to another source, from where it lands.
    """

    read_n: int = 0
    new_n: int = 0
    duplicate_n: int = 0
    rejected_n: int = 0
    gap_n: int = 0
    batch_n: int = 0
    hole_n: int = 0
    handed_on_n: int = 0


def land(
    warehouse: Warehouse,
    source: Source,
    *,
    clock: Callable[[], datetime],
    dedup_hours: float = 72,
    batch_events: int = 240_000,
    progress: Callable[[int, int], None] | None = None,
) -> Landed:
    """Bring what lies in `source` into raw.*, up to where each part of it ended when this began.

    Works in batches of about `batch_events` lines, each one transaction; after a kill the next call goes on.
    A batch for which DuckDB has too little memory is landed in halves. An event is a duplicate when one with
    its source and id was kept that was received at most `dedup_hours` before or after it. `progress` gets
    (lines landed, lines to land). Raises LandingRefused when another landing moved the positions, what the
    source raises (after landing the rest) when a part cannot be read now, LandingError when a count does not
    add up or the lines are not ours.
    """
    landed_at = naive(clock()) or NO_CLOCK
    if warehouse.value("select count(*) from raw.clock") == 0:
        warehouse.execute("insert into raw.clock values ($landed_at)", {"landed_at": NO_CLOCK})
    memory = int(warehouse.value("select parse_formatted_bytes(current_setting('memory_limit'))"))
    batch_bytes = min(BATCH_BYTES, memory // MEMORY_SHARE)
    positions = _positions(warehouse, source.topic)
    with source.reading(positions, landed_at) as reading:
        lander = _Lander(
            warehouse, source.topic, reading.topic_id, set(positions), landed_at, timedelta(hours=dedup_hours)
        )
        landed, total = Landed(), reading.total() if progress else 0
        with closing(_ahead(reading.batches(batch_events, batch_bytes))) as batches:
            for batch, incoming in batches:
                landed = _sum(landed, lander.land(batch, incoming))
                if progress:
                    progress(landed.read_n, max(total, landed.read_n))
        drop_tables(warehouse)
        # When a part could not be read the clock stays where it is: the horizon must not pass what nobody saw.
        lander.catch_up(reading.ends(), reading.upto)
    return landed


def _positions(warehouse: Warehouse, topic: str) -> dict[str, Position]:
    rows = warehouse.execute(
        "select part, next_position, is_done, topic_id, last_received_at from raw.positions where topic = $topic",
        {"topic": topic},
    )
    return {part: Position(*rest) for part, *rest in rows}


def _ahead(batches: Iterator[Batch]) -> Generator[tuple[Batch, Incoming], None, None]:
    """The batches with their lines ready for DuckDB; the next is made ready while DuckDB works on one."""

    def prepare() -> tuple[Batch, Incoming] | None:
        batch = next(batches, None)
        return (batch, Incoming(batch.lines)) if batch else None

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(prepare)
        while ready := following.result():
            following = pool.submit(prepare)
            yield ready


@dataclass
class _Lander:
    """Lands one batch after the other. `known`: the parts that have a row in raw.positions."""

    warehouse: Warehouse
    topic: str
    topic_id: str | None
    known: set[str]
    landed_at: datetime
    window: timedelta

    def land(self, batch: Batch, incoming: Incoming) -> Landed:
        """One batch in one transaction, or in two when the memory is too small for it."""
        try:
            try:
                landed = self._store(batch, incoming)
            except UNREADABLE:
                incoming.find_unreadable(self.warehouse)
                landed = self._store(batch, incoming)
        except (duckdb.OutOfMemoryException, LandingTooLarge) as error:
            halves = batch.halves()
            if halves is None:
                raise
            if isinstance(error, LandingTooLarge):
                self.warehouse.checkpoint()  # before one, a commit that ran out of memory gives none of it back
            first, second = halves
            return _sum(self.land(first, Incoming(first.lines)), self.land(second, Incoming(second.lines)))
        self.known.update(stretch.part for stretch in batch.stretches)
        return landed

    def catch_up(self, ends: Sequence[End], upto: datetime | None) -> None:
        """Note how far the landing saw: each part stands at its end, and all received before `upto` has landed."""
        seen = [end for end in ends if end.part in self.known]
        table = pl.DataFrame(
            [asdict(end) for end in seen],
            schema={"part": pl.String, "next_position": pl.Int64, "is_last": pl.Boolean},
        )
        values = {"upto": upto, "topic": self.topic}
        with self.warehouse.frames(ends=table), _fenced(self.warehouse, upto):
            changed_n = self.warehouse.execute(CATCH_UP, values)[0][0]
            if changed_n != len(seen):
                raise LandingRefused(f"Another landing moved the positions of {self.topic} meanwhile. Land again.")
            self.warehouse.execute(CATCH_UP_OTHERS, values)

    def _store(self, batch: Batch, incoming: Incoming) -> Landed:
        warehouse = self.warehouse
        with _fenced(warehouse):
            # event_no counts every line ever read, so it does not depend on how the batches were cut.
            landing_id, base = warehouse.execute(
                "select coalesce(max(landing_id), 0) + 1, coalesce(sum(read_n), 0)::bigint from raw.landings"
            )[0]
            stamps = {"landing_id": landing_id, "topic": self.topic}
            incoming.read(warehouse, base=base, **stamps)
            duplicate_n = insert_events(warehouse, self.window)
            rejects = incoming.rejects()
            self._refuse_strange(batch, rejects)
            rejected_n = insert_rejects(warehouse, _stamped(rejects, **stamps))
            new_n, first_event_no, last_event_no = warehouse.execute(NEW, {"base": base})[0]
            gaps = self._new_gaps(batch)
            landed = Landed(
                read_n=batch.lines.num_rows,
                new_n=new_n,
                duplicate_n=duplicate_n + len(rejects) - rejected_n,
                rejected_n=rejected_n,
                gap_n=sum(gap.event_n or 0 for gap in gaps),
                batch_n=1,
                hole_n=len(gaps),
                handed_on_n=sum(stretch.is_handed_on for stretch in batch.stretches),
            )
            spans = _spans(batch.stretches)
            _check(landed, batch)
            for span in spans:
                self._advance(span)
            self._note(landing_id, spans, gaps)
            numbers = {"first_event_no": first_event_no, "last_event_no": last_event_no, **asdict(landed)}
            warehouse.execute(LANDING, {"landing_id": landing_id, "landed_at": self.landed_at, **numbers})
        return landed

    def _refuse_strange(self, batch: Batch, rejects: pl.DataFrame) -> None:
        read_n, strange_n = batch.lines.num_rows, rejects["reason"].eq("undecodable").sum()
        if self.topic != LOG and read_n >= STRANGE_N and strange_n > read_n / 2:
            raise LandingError(
                f"{strange_n:,} of {read_n:,} records of {self.topic} are no events of footfall (the first: "
                f"{rejects.filter(pl.col('reason') == 'undecodable')['detail'][0]}); nothing of them was kept. "
                "Name the topic that the forwarder fills as [kafka] topic."
            )

    def _new_gaps(self, batch: Batch) -> list[Gap]:
        """The gaps of the batch; what the forwarder says of the log counts once, however often it says so."""
        gaps: dict[Gap, None] = {}
        for stretch in batch.stretches:
            gap = stretch.gap
            if gap and (gap.topic == self.topic or not self._is_noted(gap)):
                gaps[gap] = None
        return list(gaps)

    def _is_noted(self, gap: Gap) -> bool:
        return bool(
            self.warehouse.value(
                "select count(*) from raw.gaps where topic = $topic and part = $part and from_position = $start",
                {"topic": gap.topic, "part": gap.part, "start": gap.start},
            )
        )

    def _advance(self, span: Span) -> None:
        values = {**asdict(span), "topic": self.topic, "topic_id": self.topic_id}
        changed_n = self.warehouse.execute(ADVANCE if span.part in self.known else BEGIN, values)[0][0]
        if changed_n != 1:
            raise LandingRefused(
                f"Another landing moved the position of {self.topic}/{span.part} from {span.start}; "
                "nothing of this batch was kept. Land again."
            )

    def _note(self, landing_id: int, spans: Sequence[Span], gaps: Sequence[Gap]) -> None:
        """Write the spans and gaps of a batch."""
        covered = [
            {
                "topic": self.topic,
                "part": span.part,
                "from_position": span.start,
                "to_position": span.stop,
                "read_n": span.read_n,
                "gap_n": span.gap_n,
            }
            for span in spans
            if span.stop > span.start
        ]
        missing = [
            {
                "topic": gap.topic,
                "part": gap.part,
                "from_position": gap.start,
                "to_position": gap.stop,
                "event_n": gap.event_n,
                "cause": gap.cause,
                "noticed_at": self.landed_at,
            }
            for gap in gaps
        ]
        self.warehouse.insert_frame("raw.spans", _stamped(pl.DataFrame(covered), landing_id=landing_id))
        types = {"event_n": pl.Int64} if missing else None
        frame = pl.DataFrame(missing, schema_overrides=types)
        self.warehouse.insert_frame("raw.gaps", _stamped(frame, landing_id=landing_id))


@dataclass(frozen=True)
class Span:
    """The positions of one part that a batch covers, and the events that stood there."""

    part: str
    start: int
    stop: int
    read_n: int
    gap_n: int
    last_received_at: datetime | None
    is_done: bool


def _spans(stretches: Sequence[Stretch]) -> list[Span]:
    """The stretches of each part as one span; they must follow each other without a hole."""
    spans = []
    for part, group in groupby(sorted(stretches, key=lambda stretch: stretch.part), lambda stretch: stretch.part):
        of_part = list(group)
        for before, after in pairwise(of_part):
            if before.stop != after.start or before.is_last:
                raise LandingError(f"The batch has a hole in {part}: {before.stop} is followed by {after.start}.")
        receipts = [stretch.newest for stretch in of_part if stretch.newest]
        spans.append(
            Span(
                part,
                of_part[0].start,
                of_part[-1].stop,
                sum(stretch.line_n for stretch in of_part),
                sum(stretch.gap.event_n or 0 for stretch in of_part if stretch.gap),
                max(receipts, default=None),
                of_part[-1].is_last,
            )
        )
    return spans


@contextmanager
def _fenced(warehouse: Warehouse, landed_at: datetime | None = None) -> Iterator[None]:
    """A transaction that writes the clock, as every landing does: of two at a time DuckDB refuses the second.

    `landed_at` is the new clock; None leaves it as it is.
    """
    try:
        with warehouse.transaction():
            # Delete and insert: DuckDB takes an update that changes nothing for no write at all.
            clock = warehouse.value("select max(landed_at) from raw.clock")
            warehouse.execute("delete from raw.clock")
            warehouse.execute("insert into raw.clock values ($clock)", {"clock": landed_at or clock})
            yield
    except duckdb.TransactionException as error:
        if "failed to pin" in str(error):
            raise LandingTooLarge(
                "There is too little memory to commit a batch; nothing of it was kept. "
                "Raise memory_limit under [warehouse], or lower batch_events under [land]."
            ) from error
        if "onflict" not in str(error):
            raise
        raise LandingRefused(f"Another landing is at work in this warehouse ({error}). Land again.") from error


def _check(landed: Landed, batch: Batch) -> None:
    if landed.read_n != landed.new_n + landed.duplicate_n + landed.rejected_n:
        raise LandingError(f"The batch does not add up (read = new + duplicate + rejected): {landed}.")
    if landed.read_n != sum(stretch.line_n for stretch in batch.stretches):
        raise LandingError(f"The batch does not add up (its positions hold other lines than were read): {landed}.")


def _sum(one: Landed, other: Landed) -> Landed:
    return Landed(*map(add, astuple(one), astuple(other)))


def _stamped(frame: pl.DataFrame, **values: int | str) -> pl.DataFrame:
    return frame.with_columns(**{name: pl.lit(value) for name, value in values.items()})
