"""Kafka as a source of landing: each partition is a part, each offset a position.

No consumer group: raw.positions says where to go on. What the forwarder sends carries its place on the log in
headers; whatever else lies in the topic is set aside, record by record.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import CorruptRecordError, KafkaError, OffsetOutOfRangeError, RetriableError

from ingest import log
from ingest.broker import BrokerError, find_topic, reach
from ingest.cursor import CURSOR, Place, load_cursor
from ingest.source import LINES, LOG, MARK, Batch, End, Gap, LandingError, Position, Stretch, naive

VERSION = b"1"
POLL_RECORDS = 20_000
POLL_MS = 500
SILENT_SECONDS = 30.0
NOWHERE = (None, None, None)  # on the log: the place of what the forwarder did not send
LATEST_MS = 4_102_444_800_000  # 2100: a later timestamp is none


class _Notice(msgspec.Struct):
    """What the forwarder says of chunks that it could not read."""

    from_: int = msgspec.field(name="from")
    to: int
    event_n: int | None = None


_notice = msgspec.json.Decoder(_Notice)


class FromKafka:
    """A topic that the forwarder fills. Also a Source.

    `client` is what kafka-python needs to reach the brokers. `log_folder`, where it holds a log, tells how far
    the forwarder of this machine is behind, and so up to when everything received has come to the topic.
    """

    def __init__(self, client: Mapping[str, Any], topic: str, log_folder: Path) -> None:
        self.topic = topic
        self._client = client
        self._log_folder = log_folder

    @contextmanager
    def reading(self, positions: Mapping[str, Position], landed_at: datetime) -> Iterator[KafkaReading]:
        """A pass over all partitions. Raises LandingError when the brokers cannot be read."""
        # The cursor is read before the ends are asked: what it calls forwarded lies before them.
        upto = _forwarded_upto(self._log_folder, self.topic, landed_at)
        try:
            found = find_topic(self._client, self.topic)
            if found is None:
                raise LandingError(
                    f"There is no topic {self.topic} at {', '.join(self._client['bootstrap_servers'])}. "
                    "Start footfall forward, which makes it, or correct topic in [kafka]."
                )
        except BrokerError as error:
            raise LandingError(f"{error} Nothing was landed; the events wait.") from error
        reading = None
        try:
            partitions = [TopicPartition(self.topic, number) for number in range(found.partition_n)]
            with _seldom_looking_for_cycles():
                reading = KafkaReading(self._client, partitions, found.topic_id, positions, upto)
                yield reading
        except KafkaError as error:
            raise LandingError(
                f"Kafka does not give what it holds ({error}). What was landed stays; land again when it is well."
            ) from error
        finally:
            if reading:
                reading.close()


CONSUMER: Mapping[str, Any] = {
    "group_id": None,
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "allow_auto_create_topics": False,
    "max_poll_records": POLL_RECORDS,
    "max_partition_fetch_bytes": 8 << 20,
    "fetch_max_bytes": 64 << 20,
    "reconnect_backoff_max_ms": 1000,
}


@dataclass
class _Part:
    """A partition: its name in raw.positions, where to go on, and where it ended when the pass began."""

    name: str
    position: int
    end: int
    is_seen: bool


class KafkaReading:
    """A pass over a topic."""

    def __init__(
        self,
        client: Mapping[str, Any],
        partitions: Sequence[Any],
        topic_id: str,
        positions: Mapping[str, Position],
        upto: datetime | None,
    ) -> None:
        self.topic_id: str | None = topic_id
        self._client = client
        self._consumer = consumer = _consumer(client)
        self._topic: str = partitions[0].topic
        self._upto = upto
        self._newest = max(
            (each.last_received_at for each in positions.values() if each.last_received_at), default=None
        )
        self._lines = _Lines()
        self._stretches: list[Stretch] = []
        self._missing_cause = ""
        consumer.assign(list(partitions))
        # Begins first: what goes in between is found out of range, and asked again.
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        self._parts = {each: self._place(each, positions, ends[each]) for each in partitions}
        for each in partitions:
            self._skip_to(each, begins[each], "lost")
        self._seek()

    @property
    def upto(self) -> datetime | None:
        """Where the log is here: the oldest receipt that was not forwarded. Else the newest receipt that landed."""
        return self._upto or self._newest

    def total(self) -> int:
        """The offsets from the positions to the ends."""
        return sum(max(0, part.end - part.position) for part in self._parts.values())

    def batches(self, batch_events: int, batch_bytes: int) -> Iterator[Batch]:
        """Polls together as one batch. Offsets without a record come as gaps."""
        while waiting := self._waiting():
            for partition, records in self._poll(waiting).items():
                self._take(partition, records)
            for partition in waiting:
                # No record left before the end: marks of transactions, or compacted ones, can be the last.
                part = self._parts[partition]
                self._skip_to(partition, min(self._consumer.position(partition), part.end), None)
            if len(self._lines) >= batch_events or self._lines.byte_n >= batch_bytes:
                yield self._flush()
        if self._stretches:
            yield self._flush()

    def ends(self) -> list[End]:
        """All partitions of which anything was ever read."""
        return [End(part.name, part.position) for part in self._parts.values() if part.is_seen]

    def _place(self, partition: Any, positions: Mapping[str, Position], end: int) -> _Part:
        """Where to go on in a partition. One of a topic made anew is another part, with a row of its own."""
        number = str(partition.partition)
        names = [name for name in positions if name.partition("@")[0] == number]
        name = next((name for name in names if not positions[name].is_done), None)
        if name:
            before = positions[name]
            if before.topic_id == self.topic_id and before.next_position <= end:
                return _Part(name, before.next_position, end, is_seen=True)
            at = before.next_position
            gap = Gap(self._topic, name, at, at, None, "lost")
            self._stretches.append(Stretch(name, at, at, gap=gap, is_last=True))
        return _Part(f"{number}@{len(names) + 1}" if names else number, 0, end, is_seen=False)

    def _waiting(self) -> list[Any]:
        return [each for each, part in self._parts.items() if part.position < part.end]

    def _seek(self) -> None:
        """Have the consumer go on where this pass stands, in the partitions that are not read to their end."""
        waiting = self._waiting()
        self._consumer.assign(waiting)
        for each in waiting:
            self._consumer.seek(each, self._parts[each].position)

    def _poll(self, waiting: Sequence[Any]) -> Mapping[Any, Sequence[Any]]:
        deadline = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < deadline:
            try:
                polled: Mapping[Any, Sequence[Any]] = self._consumer.poll(POLL_MS)
            except OffsetOutOfRangeError:
                # Retention was faster than this pass.
                for each, begin in self._consumer.beginning_offsets(waiting).items():
                    self._skip_to(each, begin, "lost")
                self._seek()
                return {}
            except Exception as error:
                if _may_pass(error):
                    continue
                # A batch with a wrong checksum, or one that cannot be unpacked.
                self._step_over_damage(waiting)
                return {}
            if polled or any(self._consumer.position(each) > self._parts[each].position for each in waiting):
                return polled
        raise LandingError(
            f"Kafka has given nothing of {self._topic} for {SILENT_SECONDS:.0f} s, though it holds more. "
            "What was landed stays; land again when it is well."
        )

    def _step_over_damage(self, waiting: Sequence[Any]) -> None:
        """Each partition once more, alone; one that still cannot be read goes on behind the damaged batch."""
        for each in waiting:
            part = self._parts[each]
            trouble = self._probe(each, part.position)
            if not trouble:
                continue
            # All offsets of one batch give the same trouble, so its end is found by halves.
            low, step = part.position, 1
            while low + step < part.end and self._probe(each, low + step) == trouble:
                low, step = low + step, 2 * step
            high = min(low + step, part.end)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._probe(each, middle) == trouble else (low, middle)
            self._skip_to(each, high, "damaged")
        self._renew()
        self._seek()

    def _probe(self, partition: Any, offset: int) -> str:
        """Why nothing can be read at an offset; empty when it can."""
        self._renew()
        self._consumer.assign([partition])
        self._consumer.seek(partition, offset)
        deadline = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < deadline:
            try:
                if self._consumer.poll(POLL_MS, max_records=1) or self._consumer.position(partition) > offset:
                    return ""
            except OffsetOutOfRangeError:
                return ""
            except Exception as error:
                if not _may_pass(error):
                    return f"{type(error).__name__} {error}"
        raise LandingError(f"Kafka gives nothing of {self._topic} any more. Land again when it is well.")

    def _renew(self) -> None:
        """Another consumer: kafka-python's never comes back from a poll that follows one that failed so."""
        self.close()
        self._consumer = _consumer(self._client)

    def close(self) -> None:
        """Let go of the brokers."""
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def _skip_to(self, partition: Any, offset: int, cause: str | None) -> None:
        """Note that nothing can be read from where the pass stands up to `offset`."""
        part = self._parts[partition]
        if offset > part.position:
            offset = min(offset, part.end) if part.end > part.position else offset
            why = cause or self._why_missing()
            event_n = None if cause is None else offset - part.position
            gap = Gap(self._topic, part.name, part.position, offset, event_n, why)
            self._stretches.append(Stretch(part.name, part.position, offset, gap=gap))
            part.position, part.is_seen = offset, True

    def _why_missing(self) -> str:
        """Offsets without a record: thrown out by compaction where the topic is compacted, else Kafka's own marks."""
        if not self._missing_cause:
            policy = ""
            with suppress(BrokerError, KafkaError, KeyError, IndexError, TypeError):
                policy = _cleanup_policy(self._client, self._topic)
            self._missing_cause = "compacted" if "compact" in policy else "control"
        return self._missing_cause

    def _take(self, partition: Any, records: Sequence[Any]) -> None:
        part = self._parts[partition]
        records = [each for each in records if part.position <= each.offset < part.end]
        breaks = [k for k, (a, b) in enumerate(pairwise(records), 1) if b.offset != a.offset + 1]
        for first, last in pairwise([0, *breaks, len(records)]):
            run = records[first:last]
            if run:
                self._skip_to(partition, run[0].offset, None)
                self._add(part, run)

    def _add(self, part: _Part, run: Sequence[Any]) -> None:
        """Records without a hole between their offsets."""
        line_n, start, newest_ms = 0, part.position, -1
        for record in run:
            place, why, notice = self._read(record)
            if notice:
                self._stretches.append(self._stretch(part, start, record.offset, line_n, newest_ms))
                self._stretches.append(Stretch(part.name, record.offset, record.offset + 1, gap=notice))
                line_n, start, newest_ms = 0, record.offset + 1, -1
            else:
                self._lines.add(part.name, record, place, why)
                line_n += 1
                if why is None and record.timestamp > newest_ms:
                    newest_ms = record.timestamp
        stop = run[-1].offset + 1
        self._stretches.append(self._stretch(part, start, stop, line_n, newest_ms))
        part.position, part.is_seen = stop, True

    def _stretch(self, part: _Part, start: int, stop: int, line_n: int, newest_ms: int) -> Stretch:
        newest = _instant(newest_ms)
        if newest:
            self._newest = max(newest, self._newest or newest)
        return Stretch(part.name, start, stop, line_n, newest=newest)

    def _read(self, record: Any) -> tuple[tuple[Any, ...], str | None, Gap | None]:
        """Where a record stood on the log, or why it is none of ours, or the gap that it tells of."""
        headers = dict(record.headers)
        version = headers.get("version")
        if version is None:
            return NOWHERE, "The record has no header `version`: footfall forward did not send it.", None
        if version != VERSION:
            return NOWHERE, f"The record is of version {version[:20]!r}; this footfall reads 1. Upgrade it.", None
        try:
            segment = headers["segment"].decode("ascii")
            place = segment, int(headers["sequence"]), int(headers["index"])
            if "gap" in headers:
                told = _notice.decode(record.value or b"")
                cause = headers["gap"].decode("ascii")
                return place, None, Gap(LOG, segment, told.from_, told.to, told.event_n, cause)
        except (KeyError, ValueError, AttributeError, msgspec.MsgspecError) as error:
            return NOWHERE, f"The record's place on the log cannot be read: {type(error).__name__} {error}.", None
        if record.value is None:
            return place, "The record has no value.", None
        return place, None, None

    def _flush(self) -> Batch:
        batch = Batch(self._lines.table(), self._stretches)
        self._lines, self._stretches = _Lines(), []
        return batch


class _Lines:
    """Records on their way into the columns of LINES."""

    def __init__(self) -> None:
        self.byte_n = 0
        self._rows: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, part: str, record: Any, place: tuple[Any, ...], why: str | None) -> None:
        value, at_ms = record.value, record.timestamp
        at_ms = at_ms if 0 <= at_ms < LATEST_MS else None
        has_mark = value is not None and MARK in value
        # One tuple a record, turned into columns later: this runs once a record, and is what Kafka's pace hangs on.
        self._rows.append((value, part, record.offset, 0, *place, at_ms, why, has_mark))
        self.byte_n += len(value or b"")

    def table(self) -> pa.Table:
        """The columns as they are so far."""
        columns = []
        for field, values in zip(
            LINES, zip(*self._rows, strict=True) if self._rows else [()] * len(LINES), strict=True
        ):
            if field.name == "record_at":
                columns.append(pa.array(values, pa.timestamp("ms")).cast(field.type))
            else:
                columns.append(pa.array(values, field.type))
        return pa.table(columns, schema=LINES)


@contextmanager
def _seldom_looking_for_cycles() -> Iterator[None]:
    """Of each record kafka-python makes some ten objects, none in a cycle: Python's looks at them cost a fifth."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _consumer(client: Mapping[str, Any]) -> Any:
    try:
        return reach(KafkaConsumer, client, **CONSUMER)
    except BrokerError as error:
        raise LandingError(f"{error} What was landed stays; the rest waits.") from error


def _may_pass(error: Exception) -> bool:
    """Whether the same question may have an answer later; kafka-python counts a wrong checksum among those."""
    return isinstance(error, RetriableError) and not isinstance(error, CorruptRecordError)


def _forwarded_upto(folder: Path, topic: str, landed_at: datetime) -> datetime | None:
    """Up to when all that the log in `folder` received is in the topic, naive UTC; None where there is no log."""
    segments = log.segments(folder)
    if not segments and not (folder / CURSOR).exists():
        return None
    cursor, _ = load_cursor(folder, topic)
    upto = landed_at
    for segment in segments:
        place = cursor.places.get(segment.name, Place())
        if not place.is_done:
            waiting = segment.waiting(place.next_sequence - 1)
            upto = min(upto, naive(waiting.oldest_at) or upto)
    return upto


def _cleanup_policy(client: Mapping[str, Any], topic: str) -> str:
    admin = reach(KafkaAdminClient, client)
    try:
        return str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, ["cleanup.policy"])]))
    finally:
        admin.close()


def _instant(at_ms: int) -> datetime | None:
    if not 0 <= at_ms < LATEST_MS:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).replace(tzinfo=None)
