"""Landing: what lies on the log becomes rows, in batches that commit together with their positions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from operator import add
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from ingest import log
from ingest.incoming import UNREADABLE, Incoming, LandingError, Record, incoming, naive, remove_leftovers
from warehouse import Warehouse

TOPIC = "log"
NO_CLOCK = datetime(1970, 1, 1)

# Rows of the batch (event_no > $base) that may repeat another, by hash: one of the batch, or one received at
# most the window away. The bounds let DuckDB skip the row groups of raw.events that are too old or too new.
SUSPECTS = """
create or replace temp table suspects as
with fresh as (
    select event_no, id_hash from raw.events where event_no > $base
),

suspect_hashes as (
    select id_hash from fresh group by id_hash having count(*) > 1
    union
    select id_hash from raw.events
    where
        event_no <= $base and received_at >= $since and received_at <= $until
        and id_hash in (select id_hash from fresh)
)

select event_no, id_hash, source, event_id, received_at from raw.events
where event_no > $base and id_hash in (select id_hash from suspect_hashes)
"""
# Those whose copy landed in an earlier batch and was received within the window of them.
REPEATS = """
create or replace temp table repeats as
select distinct suspects.event_no
from raw.events as kept
inner join suspects on
    kept.id_hash = suspects.id_hash and kept.source = suspects.source and kept.event_id = suspects.event_id
where
    kept.event_no <= $base and kept.received_at >= $since and kept.received_at <= $until
    and abs(date_diff('microsecond', kept.received_at, suspects.received_at)) <= $window
"""
DROP_REPEATS = "delete from suspects where event_no in (select event_no from repeats)"
# One round: the first copy of each id stays; repeats are those received within the window of it. What is left
# is a new row again, and the next round begins with it.
FIRSTS = """
create or replace temp table firsts as
select event_no, source, event_id, received_at from suspects
qualify row_number() over (partition by source, event_id order by event_no) = 1
"""
DROP_FIRSTS = "delete from suspects where event_no in (select event_no from firsts)"
REPEAT_FIRSTS = """
insert into repeats
select suspects.event_no
from suspects
inner join firsts on suspects.source = firsts.source and suspects.event_id = firsts.event_id
where abs(date_diff('microsecond', suspects.received_at, firsts.received_at)) <= $window
"""
DELETE_REPEATS = """
delete from raw.events where event_no > $base and event_no in (select event_no from repeats)
"""
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
    is_done = is_done or $is_lost
where topic = $topic and part = $part and next_position = $start and not is_done
"""
BEGIN = """
insert into raw.positions
select $topic, $part, $stop, null, $last_received_at, false
where not exists (select 1 from raw.positions where topic = $topic and part = $part)
"""
CATCH_UP = """
update raw.positions
set caught_up_at = $landed_at, is_done = seen.is_closed
from seen
where
    positions.topic = $topic and positions.part = seen.part and positions.next_position = seen.next_position
    and not positions.is_done
"""


class LandingRefused(LandingError):
    """Another landing moved the positions meanwhile: this one kept nothing of its batch."""


@dataclass(frozen=True)
class Landed:
    """What a landing did: events read = new + duplicate + rejected; gap_n as far as it is known."""

    read_n: int = 0
    new_n: int = 0
    duplicate_n: int = 0
    rejected_n: int = 0
    gap_n: int = 0
    batch_n: int = 0


@dataclass
class _Span:
    """The positions of one segment that a batch covers, and the events that stood there."""

    part: str
    start: int
    stop: int
    is_known: bool
    is_lost: bool = False
    event_n: int = 0
    read_n: int = 0
    gap_n: int = 0
    last_received_at: datetime | None = None


@dataclass
class _Batch:
    records: list[Record] = field(default_factory=list)
    spans: dict[str, _Span] = field(default_factory=dict)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    read_n: int = 0


@dataclass
class _Part:
    """A segment that is not done: where to go on, and where it ended when the landing began."""

    segment: log.Segment
    next_position: int
    is_known: bool
    is_closed: bool
    end: int | None


def land(
    warehouse: Warehouse,
    folder: Path,
    *,
    clock: Callable[[], datetime],
    dedup_hours: float = 72,
    batch_events: int = 200_000,
    progress: Callable[[int, int], None] | None = None,
) -> Landed:
    """Bring what lies on the log in `folder` into raw.*, up to where each segment ended when it began.

    Works in batches of about `batch_events` lines, each one transaction; after a kill the next call goes on.
    An event is a duplicate when one with its source and id was kept that was received at most `dedup_hours`
    before or after it. `progress` gets (lines landed, lines to land). Raises LandingRefused when another
    landing moved the positions, LogUnreadable (after landing the rest) when a segment cannot be read now,
    LandingError when a count does not add up.
    """
    home = warehouse.path.parent if warehouse.path else folder.parent
    home.mkdir(parents=True, exist_ok=True)
    remove_leftovers(home)
    landed_at = _naive(clock())
    parts, lost = _look(warehouse, folder)
    total = sum(part.segment.event_n(part.next_position - 1) for part in parts) if progress else 0
    unreadable: list[log.LogUnreadable] = []
    landed = Landed()
    if warehouse.value("select count(*) from raw.clock") == 0:
        warehouse.execute("insert into raw.clock values ($landed_at)", {"landed_at": NO_CLOCK})
    with closing(_ahead(home, _batches(parts, lost, batch_events, unreadable))) as batches:
        for batch, lines in batches:
            one = _land_batch(warehouse, batch, lines, landed_at, timedelta(hours=dedup_hours))
            landed = Landed(*map(add, astuple(landed), astuple(one)))
            if progress:
                progress(landed.read_n, max(total, landed.read_n))
    for table in ("suspects", "repeats", "firsts"):
        warehouse.execute(f"drop table if exists temp.{table}")
    if unreadable:
        # The clock stays where it is: the horizon must not pass what nobody could read.
        raise unreadable[0]
    _catch_up(warehouse, parts, landed_at)
    return landed


def release(warehouse: Warehouse, folder: Path, *, keep: timedelta, now: datetime) -> list[str]:
    """Unlink the segments that are landed to their end and older than `keep`; gives their names.

    The warehouse is checkpointed first, so that it alone can answer for what they held. A segment goes when
    it is closed, its position stands at its end, and its newest event was received before `now - keep`; one
    that a killed writer left empty goes at the same age.
    """
    before = _naive(now) - keep
    done = {
        part: (next_position, last_received_at)
        for part, next_position, last_received_at in warehouse.execute(
            "select part, next_position, last_received_at from raw.positions where topic = $topic and is_done",
            {"topic": TOPIC},
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


def _look(warehouse: Warehouse, folder: Path) -> tuple[list[_Part], list[_Part]]:
    """The segments that are not done, in order, and those among them whose file is gone."""
    positions = {
        part: (next_position, is_done)
        for part, next_position, is_done in warehouse.execute(
            "select part, next_position, is_done from raw.positions where topic = $topic", {"topic": TOPIC}
        )
    }
    parts = []
    found = log.segments(folder)
    for segment in found:
        next_position, is_done = positions.get(segment.name, (1, False))
        if not is_done:
            # Closed is asked first: what a closed segment holds then is all that it will ever hold.
            is_closed = segment.is_closed()
            parts.append(_Part(segment, next_position, segment.name in positions, is_closed, segment.last_sequence()))
    names = {segment.name for segment in found}
    lost = [
        _Part(log.Segment(part, folder / f"{part}.db", 0), next_position, True, True, None)
        for part, (next_position, is_done) in sorted(positions.items())
        if not is_done and part not in names
    ]
    return parts, lost


def _batches(
    parts: list[_Part],
    lost: list[_Part],
    batch_events: int,
    unreadable: list[log.LogUnreadable],
) -> Iterator[_Batch]:
    batch = _Batch()
    for part in lost:
        name, at = part.segment.name, part.next_position
        batch.spans[name] = _Span(name, at, at, is_known=True, is_lost=True)
        batch.gaps.append(_gap(name, at, at, None, "lost"))
    for part in parts:
        try:
            for chunk in part.segment.chunks(part.next_position - 1):
                if part.end is not None and chunk.sequence > part.end:
                    break
                if batch.read_n + (chunk.event_n or 0) > batch_events and batch.spans:
                    yield batch
                    batch = _Batch()
                _add(batch, part, chunk)
        except log.LogUnreadable as error:
            unreadable.append(error)
    if batch.spans:
        yield batch


def _ahead(home: Path, batches: Iterator[_Batch]) -> Generator[tuple[_Batch, Incoming], None, None]:
    """The batches with their lines ready for DuckDB; the next is made ready while DuckDB works on one."""
    with ExitStack() as ends, ThreadPoolExecutor(1) as pool:

        def prepare() -> tuple[_Batch, Incoming, ExitStack] | None:
            batch = next(batches, None)
            if batch is None:
                return None
            end = ends.enter_context(ExitStack())
            return batch, end.enter_context(incoming(home, batch.records)), end

        following = pool.submit(prepare)
        while ready := following.result():
            following = pool.submit(prepare)
            batch, lines, end = ready
            yield batch, lines
            end.close()
        # Whatever ended the loop, `ends` removes the scratch files that are left, once the pool has ended.


def _add(batch: _Batch, part: _Part, chunk: log.Chunk) -> None:
    name = part.segment.name
    span = batch.spans.setdefault(name, _Span(name, part.next_position, part.next_position, part.is_known))
    span.event_n += chunk.event_n or 0
    if chunk.damage is None:
        line_n = chunk.event_n or 0
        batch.records.append(Record(name, chunk.sequence, chunk.body, line_n, naive(chunk.last_received_at)))
        batch.read_n += line_n
        span.read_n += line_n
    else:
        batch.gaps.append(_gap(name, chunk.sequence, chunk.sequence + 1, chunk.event_n, "damaged"))
        span.gap_n += chunk.event_n or 0
    newest = naive(chunk.last_received_at)
    if newest:
        span.last_received_at = max(newest, span.last_received_at or newest)
    span.stop = part.next_position = chunk.sequence + 1
    part.is_known = True


def _land_batch(warehouse: Warehouse, batch: _Batch, lines: Incoming, landed_at: datetime, window: timedelta) -> Landed:
    try:
        return _store(warehouse, batch, lines, landed_at, window)
    except UNREADABLE:
        lines.find_unreadable(warehouse)
        return _store(warehouse, batch, lines, landed_at, window)


def _store(warehouse: Warehouse, batch: _Batch, lines: Incoming, landed_at: datetime, window: timedelta) -> Landed:
    spans = list(batch.spans.values())
    with _fenced(warehouse):
        # event_no counts every line ever read, so it does not depend on how the batches were cut.
        landing_id, base = warehouse.execute(
            "select coalesce(max(landing_id), 0) + 1, coalesce(sum(read_n), 0)::bigint from raw.landings"
        )[0]
        if batch.records:
            lines.insert(warehouse, base=base, landing_id=landing_id, topic=TOPIC)
        duplicate_n = _drop_repeats(warehouse, base, window)
        rejected_n = warehouse.insert_frame("raw.rejected", _stamped(lines.rejects(), landing_id))
        new_n, first_event_no, last_event_no = warehouse.execute(NEW, {"base": base})[0]
        landed = Landed(
            read_n=sum(span.read_n for span in spans),
            new_n=new_n,
            duplicate_n=duplicate_n,
            rejected_n=rejected_n,
            gap_n=sum(span.gap_n for span in spans),
            batch_n=1,
        )
        _check(landed, spans)
        for span in spans:
            _advance(warehouse, span)
        _note(warehouse, batch, landing_id, landed_at)
        numbers = {"first_event_no": first_event_no, "last_event_no": last_event_no, **asdict(landed)}
        warehouse.execute(LANDING, {"landing_id": landing_id, "landed_at": landed_at, **numbers})
    return landed


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
        if "onflict" not in str(error):
            raise
        raise LandingRefused(f"Another landing is at work in this warehouse ({error}). Land again.") from error


def _drop_repeats(warehouse: Warehouse, base: int, window: timedelta) -> int:
    """Take out of the batch what repeats a kept event: semantics.md section 0, in landing order. How many."""
    since, until = warehouse.execute(
        "select min(received_at), max(received_at) from raw.events where event_no > $base", {"base": base}
    )[0]
    if since is None:
        return 0
    values = {
        "base": base,
        "since": since - window,
        "until": until + window,
        "window": window // timedelta(microseconds=1),
    }
    warehouse.execute(SUSPECTS, values)
    if not warehouse.value("select count(*) from suspects"):
        return 0
    warehouse.execute(REPEATS, values)
    warehouse.execute(DROP_REPEATS)
    while warehouse.value("select count(*) from suspects"):
        warehouse.execute(FIRSTS)
        warehouse.execute(DROP_FIRSTS)
        warehouse.execute(REPEAT_FIRSTS, values)
        warehouse.execute(DROP_REPEATS)
    return int(warehouse.execute(DELETE_REPEATS, values)[0][0])


def _note(warehouse: Warehouse, batch: _Batch, landing_id: int, landed_at: datetime) -> None:
    """Write the spans and gaps of a batch."""
    spans = [
        {
            "part": s.part,
            "from_position": s.start,
            "to_position": s.stop,
            "read_n": s.read_n,
            "gap_n": s.gap_n,
        }
        for s in batch.spans.values()
        if s.stop > s.start
    ]
    warehouse.insert_frame("raw.spans", _stamped(pl.DataFrame(spans), landing_id))
    gaps = pl.DataFrame(batch.gaps, schema_overrides={"event_n": pl.Int64} if batch.gaps else None)
    noticed_at = pl.lit(landed_at).alias("noticed_at")
    warehouse.insert_frame("raw.gaps", _stamped(gaps, landing_id).with_columns(noticed_at))


def _advance(warehouse: Warehouse, span: _Span) -> None:
    values = {
        "topic": TOPIC,
        "part": span.part,
        "start": span.start,
        "stop": span.stop,
        "last_received_at": span.last_received_at,
        "is_lost": span.is_lost,
    }
    changed_n = warehouse.execute(ADVANCE if span.is_known else BEGIN, values)[0][0]
    if changed_n != 1:
        raise LandingRefused(
            f"Another landing moved the position of {TOPIC}/{span.part} from {span.start}; "
            "nothing of this batch was kept. Land again."
        )


def _catch_up(warehouse: Warehouse, parts: list[_Part], landed_at: datetime) -> None:
    """Note how far the landing saw: each segment stands where it ended when the clock showed `landed_at`."""
    seen = [part for part in parts if part.is_known]
    table = pl.DataFrame(
        {
            "part": [part.segment.name for part in seen],
            "next_position": [part.next_position for part in seen],
            "is_closed": [part.is_closed for part in seen],
        },
        schema={"part": pl.String, "next_position": pl.Int64, "is_closed": pl.Boolean},
    )
    with warehouse.frames(seen=table), _fenced(warehouse, landed_at):
        changed_n = warehouse.execute(CATCH_UP, {"landed_at": landed_at, "topic": TOPIC})[0][0]
        if changed_n != len(seen):
            raise LandingRefused("Another landing moved the positions of the log meanwhile. Land again.")


def _check(landed: Landed, spans: list[_Span]) -> None:
    if landed.read_n != landed.new_n + landed.duplicate_n + landed.rejected_n:
        raise LandingError(f"The batch does not add up (read = new + duplicate + rejected): {landed}.")
    if sum(span.event_n for span in spans) != landed.read_n + landed.gap_n:
        raise LandingError(f"The batch does not add up (span = read + gap): {landed}.")


def _gap(part: str, start: int, stop: int, event_n: int | None, cause: str) -> dict[str, Any]:
    return {"part": part, "from_position": start, "to_position": stop, "event_n": event_n, "cause": cause}


def _stamped(frame: pl.DataFrame, landing_id: int) -> pl.DataFrame:
    return frame.with_columns(pl.lit(landing_id).alias("landing_id"), pl.lit(TOPIC).alias("topic"))


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
