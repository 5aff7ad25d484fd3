"""The forwarder: each line of the log becomes one record in Kafka, in order, and none is passed over.

A process of its own. What is acknowledged is a prefix of each segment without a hole; the cursor says how
far, so whatever ends the process, the next one goes on there and at worst sends some records again, under
the same coordinates.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

import msgspec
from crc32c import crc32c
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from ingest import log
from ingest.broker import BATCH_BYTES, RETENTION_MS, BrokerError, find_topic, make_topic, reach, refuse_old
from ingest.cursor import LOCK, Hold, Place, Status, load_cursor, load_released, save_released
from ingest.event import Reason, Rejection, encode, keep, write_time

VERSION: Final = ("version", b"1")
RECORD_BYTES: Final = 900 << 10
REQUEST_BYTES: Final = 8 << 20
RECORD_COST: Final = 1200  # what a record takes in memory beside its bytes
TICK_SECONDS: Final = 0.01
LOOK_SECONDS: Final = 0.5  # how often the folder is listed, and a segment read that seems unchanged
SAVE_SECONDS: Final = 0.5
STATUS_SECONDS: Final = 2.0
RELEASE_SECONDS: Final = 60.0
SAY_SECONDS: Final = 60.0
END_SECONDS: Final = 5.0
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Tuning:
    """Numbers that tests and measurements change.

    `in_flight_bytes` bounds what is sent and not acknowledged. `stuck_s` is how long the oldest record may
    wait for its acknowledgement while the brokers answer other questions, before the producer is made anew.
    `delivery_s` must lie far above any outage: kafka-python stops sending after the first batch that it gives
    up. `retry_s` is the pause before the next try to reach the brokers.
    """

    in_flight_bytes: int = 24 << 20
    batch_bytes: int = 256 << 10
    linger_ms: int = 5
    compression: str | None = "zstd"
    delivery_s: float = 24 * 3600
    stuck_s: float = 30
    probe_s: float = 5
    retry_s: float = 2


@dataclass
class Forwarded:
    """What a run did: records acknowledged, of them resent after a failure at most `resent_n`."""

    record_n: int = 0
    resent_n: int = 0
    rebuilt_n: int = 0
    oversize_n: int = 0
    gap_n: int = 0


class Forwarder:
    """Sends the log in `folder` to a topic until it is told to end. Belongs to one thread.

    `client` is what kafka-python needs to reach the brokers; `partitions` counts when the topic is made here;
    a segment is unlinked when all of it is acknowledged and received more than `keep` ago. `clock` gives aware
    UTC; `say` gets sentences for people. Raises CursorError when another one sends this log already, or when
    the cursor belongs to another topic.
    """

    def __init__(
        self,
        folder: Path,
        *,
        client: Mapping[str, Any],
        topic: str,
        partitions: int = 6,
        keep: timedelta = timedelta(hours=24),
        clock: Callable[[], datetime],
        say: Callable[[str], None] = lambda _: None,
        tuning: Tuning | None = None,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.done = Forwarded()
        self._folder = folder
        self._client = client
        self._topic = topic
        self._partitions = partitions
        self._keep = keep
        self._clock = clock
        self._say = say
        self._tuning = tuning or Tuning()
        self._in_flight_bytes = self._tuning.in_flight_bytes
        self._hold = Hold(folder)
        try:
            self._cursor, trouble = load_cursor(folder, topic)
        except BaseException:
            self._hold.release()
            raise
        self._parts: dict[str, _Part] = {}
        self._window = _Window()
        self._problem = ""
        self._is_moved = False
        self._listed_at = self._saved_at = self._stated_at = self._released_at = -float("inf")
        self._said_at, self._said_n = time.monotonic(), 0
        if trouble:
            say(trouble)

    def run(self, stop: Flag, *, drain: bool = False) -> Forwarded:
        """Forward until `stop` is set, then await for some seconds what is under way; or, with `drain`, until
        all that the log holds is acknowledged. What keeps Kafka away is said, and it is tried again.
        """
        failed_n, moved_to = 0, 0
        try:
            while not stop.is_set():
                try:
                    producer = self._connect()
                except BrokerError as error:
                    self._tell(str(error))
                    self._keep_house()
                    self._pause(stop, self._tuning.retry_s)
                    continue
                try:
                    if self._send_all(producer, stop, drain=drain):
                        break
                except _Broken as broken:
                    self._tell(str(broken))
                    self.done.rebuilt_n += 1
                    failed_n = failed_n + 1 if self.done.record_n == moved_to else 0
                    moved_to = self.done.record_n
                    # A refusal aborts what is under way with it: alone, the records before it get through.
                    self._in_flight_bytes = 0
                finally:
                    self._drop(producer)
                # A record that is refused again and again must not flood the topic with its neighbours.
                self._pause(stop, self._tuning.retry_s * min(2**failed_n - 1, 30))
        finally:
            self._listed_at = -float("inf")
            self._list()
            self._save()
            self._state()
            self._hold.release()
        return self.done

    def _pause(self, stop: Flag, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not stop.wait(min(left, 1)):
            self._keep_house()

    # --- the producer -------------------------------------------------------------------------------------

    def _connect(self) -> Any:
        topic = make_topic(self._client, self._topic, self._partitions)
        if topic.is_new:
            self._say(f"Made the topic {topic.name} with {topic.partition_n} partitions.")
        if self._cursor.topic_id not in (None, topic.topic_id):
            self._say(f"The topic {topic.name} is not the one of before: all that the log holds is sent again.")
            self._cursor.places.clear()
        self._cursor.topic_id = topic.topic_id
        self._parts.clear()
        self._listed_at = -float("inf")
        tuning = self._tuning
        producer = reach(
            KafkaProducer,
            self._client,
            acks="all",
            enable_idempotence=True,
            linger_ms=tuning.linger_ms,
            batch_size=tuning.batch_bytes,
            compression_type=tuning.compression,
            max_request_size=REQUEST_BYTES,
            delivery_timeout_ms=int(tuning.delivery_s * 1000),
            request_timeout_ms=int(min(30, tuning.delivery_s / 2) * 1000),
            reconnect_backoff_max_ms=1000,
            max_block_ms=5000,
            metrics_enabled=False,
        )
        try:
            refuse_old(tuple(producer.config["api_version"]))
            producer.partitions_for(self._topic)
        except (BrokerError, KafkaError) as error:
            self._drop(producer)
            raise BrokerError(f"Kafka does not show the topic {self._topic}: {error}") from error
        self._tell("")
        return producer

    def _drop(self, producer: Any) -> None:
        """Let go of a producer with all that it still holds.

        Its close() waits for what may never come, and when that fails its thread lives on (3.0.12); so the
        thread is told to give up first.
        """
        self.done.resent_n += len(self._window.futures)
        self._window = _Window()
        producer._sender.force_close()
        producer._sender.join(5)
        with suppress(KafkaError):
            producer.close(timeout=1)

    # --- sending ------------------------------------------------------------------------------------------

    def _send_all(self, producer: Any, stop: Flag, *, drain: bool) -> bool:
        """Send until `stop`, or with `drain` until nothing is left: True. Raises _Broken."""
        while not stop.is_set():
            if self._pass(producer, stop) or stop.is_set():
                continue
            if not drain:
                stop.wait(TICK_SECONDS)
            elif self._window.futures:
                self._await()
            else:
                self._listed_at = -float("inf")
                for part in self._parts.values():
                    part.look_at = -float("inf")
                if not self._pass(producer, stop) and not self._window.futures:
                    return True
        end = time.monotonic() + END_SECONDS
        while self._window.futures and time.monotonic() < end:
            self._await()
        return True

    def _pass(self, producer: Any, stop: Flag) -> int:
        """Send what is new in all segments, oldest segment first; how many chunks."""
        chunk_n = 0
        for part, chunk in self._chunks():
            self._send(producer, part, chunk, stop)
            if stop.is_set():
                return chunk_n
            self._settle()
            self._keep_house()
            chunk_n += 1
        self._settle()
        self._keep_house()
        return chunk_n

    def _chunks(self) -> Iterator[tuple[_Part, log.Chunk]]:
        self._list()
        for part in list(self._parts.values()):
            stamp, now = part.stamp(), time.monotonic()
            if part.is_read or (stamp == part.seen and now < part.look_at):
                continue
            part.look_at = now + LOOK_SECONDS
            if part.is_lost:
                part.is_read = True
                part.read_to += 1
                yield part, log.Chunk(part.read_to, None, None, None, b"", "its segment is gone")
                continue
            # Closed is asked first: what a closed segment holds then is all that it will ever hold.
            is_closed = part.segment.is_closed()
            try:
                for chunk in part.segment.chunks(part.read_to):
                    self._register(part)
                    part.read_to = chunk.sequence
                    yield part, chunk
            except log.LogUnreadable as error:
                if str(error) != part.trouble:
                    self._say(str(error))
                part.trouble, part.seen = str(error), stamp
                continue
            part.seen, part.is_read = stamp, is_closed

    def _send(self, producer: Any, part: _Part, chunk: log.Chunk, stop: Flag) -> None:
        try:
            partition_n = len(producer.partitions_for(self._topic))
            for value, key, at_ms, index, more in self._records(part, chunk):
                while self._window.cost > self._in_flight_bytes:
                    self._await()
                    self._keep_house()
                    if stop.is_set():
                        return
                future = producer.send(
                    self._topic,
                    value,
                    key,
                    [VERSION, part.header, ("sequence", b"%d" % chunk.sequence), ("index", b"%d" % index), *more],
                    # By key as every partitioner does, but Python's murmur2 would take as long as all the rest.
                    (chunk.sequence if key is None else crc32c(key)) % partition_n,
                    at_ms,
                )
                self._window.add(future, RECORD_COST + len(value))
        except (KafkaError, ValueError, TypeError) as error:
            raise _Broken(f"Kafka does not take the topic {self._topic} any more ({type(error).__name__})") from error
        self._window.end(part, chunk)

    def _records(
        self, part: _Part, chunk: log.Chunk
    ) -> Iterator[tuple[bytes, bytes | None, int, int, tuple[tuple[str, bytes], ...]]]:
        """Value, key, time in ms, index and further headers of the records of a chunk."""
        at_ms = _ms(chunk.last_received_at or self._clock())
        if chunk.damage is not None:
            stop = chunk.sequence if part.is_lost else chunk.sequence + 1
            gap = {"from": chunk.sequence, "to": stop, "event_n": chunk.event_n}
            self.done.gap_n += 1
            self._say(f"The segment {part.segment.name} of the log lacks {chunk.sequence}: {chunk.damage}.")
            yield msgspec.json.encode(gap), None, at_ms, 0, (("gap", b"lost" if part.is_lost else b"damaged"),)
            return
        for index, line in enumerate(chunk.lines):
            key, line_ms, source = None, at_ms, None
            try:
                event = _decode(line)
                line_ms = _text_ms(event.received_at)
                source = event.source
                if event.reason is msgspec.UNSET:
                    key = f"{source}\x1f{event.anonymous_id or event.user_id or event.event_id}".encode()
            except (msgspec.MsgspecError, ValueError, RecursionError):  # landing says what is wrong with it
                pass
            if len(line) + len(key or b"") > RECORD_BYTES - 1024:
                line, key = self._oversize(line, source, line_ms), None
            yield line, key, line_ms, index, ()

    def _oversize(self, line: bytes, source: str | None, at_ms: int) -> bytes:
        self.done.oversize_n += 1
        at = write_time(datetime.fromtimestamp(at_ms / 1000, UTC))
        detail = f"{len(line):,} bytes do not fit into one record of Kafka"
        return encode(Rejection(Reason.OVERSIZE_RECORD, detail, keep(line), at, source))

    # --- acknowledgements ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Move the cursor behind what is acknowledged without a hole. Raises _Broken."""
        window = self._window
        for part, sequence, newest_at in window.settled():
            place = part.place
            place.next_sequence = sequence + 1
            place.newest_at = max(filter(None, (newest_at, place.newest_at)), default=None)
            self._is_moved = True
        if window.moved_n:
            self.done.record_n += window.moved_n
            window.moved_n = window.answer_n = 0
            self._in_flight_bytes = self._tuning.in_flight_bytes
            self._tell("")
        if refusal := window.refusal():
            raise _Broken(_refusal(refusal))
        self._watch()

    def _await(self) -> None:
        """Wait a moment for the oldest record's acknowledgement."""
        with suppress(KafkaError):
            self._window.futures[0][0].get(timeout=0.05)
        self._settle()

    def _watch(self) -> None:
        """Raises _Broken when nothing is acknowledged any more though the brokers answer: the producer hangs."""
        window, now = self._window, time.monotonic()
        if not window.futures or now < max(window.moved_at + self._tuning.stuck_s, window.probe_at):
            return
        try:
            topic = find_topic(self._client, self._topic, wait_s=3)
        except BrokerError as error:
            window.answer_n = 0
            self._tell(str(error))
        else:
            # Twice: right after an outage the producer needs a moment to find the brokers again.
            window.answer_n += 1
            if topic is None or topic.topic_id != self._cursor.topic_id:
                raise _Broken(f"The topic {self._topic} is gone.")
            if window.answer_n > 1:
                raise _Broken(
                    f"Kafka answers, but acknowledged nothing for {now - window.moved_at:,.0f} s. "
                    "A new connection goes on behind the last acknowledged event."
                )
        window.probe_at = time.monotonic() + self._tuning.probe_s

    # --- the house ----------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        self._list()
        now = time.monotonic()
        if now - self._saved_at >= SAVE_SECONDS:
            if self._is_moved:
                self._save()
            self._saved_at = now
        if now - self._stated_at >= STATUS_SECONDS:
            self._stated_at = now
            self._state()
        if now - self._released_at >= RELEASE_SECONDS:
            self._released_at = now
            self._release()

    def _list(self) -> None:
        """Take up new segments, and notice those that are gone without having been acknowledged."""
        now = time.monotonic()
        if now - self._listed_at < LOOK_SECONDS:
            return
        self._listed_at = now
        found = {segment.name: segment for segment in log.segments(self._folder)}
        for name, segment in found.items():
            place = self._cursor.places.get(name)
            if name not in self._parts and not (place and place.is_done):
                self._parts[name] = _Part(segment, place or Place())
        if not (self._folder / LOCK).exists():
            return  # the whole folder is away, and may come back
        for name, place in list(self._cursor.places.items()):
            if name in found:
                continue
            if place.is_done:
                del self._cursor.places[name]
                self._parts.pop(name, None)
                self._is_moved = True
                continue
            path = self._folder / f"{name}.db"
            part = self._parts.setdefault(name, _Part(log.Segment(name, path, 0), place))
            if not part.is_lost:
                part.is_lost, part.is_read, part.look_at = True, False, -float("inf")
        for name, part in list(self._parts.items()):
            if part.is_read and part.place.next_sequence > part.read_to > 0:
                part.place.is_done = self._is_moved = True
                del self._parts[name]

    def _register(self, part: _Part) -> None:
        """From now on it is missed when it vanishes. An empty segment is not: its writer may take it away."""
        if part.segment.name not in self._cursor.places:
            self._cursor.places[part.segment.name] = part.place
            self._is_moved = True

    def _save(self) -> None:
        try:
            self._cursor.save(self._folder)
            self._is_moved = False
        except OSError as error:
            self._tell(f"The cursor cannot be written ({error.strerror}). Free space on the disk of {self._folder}.")

    def _state(self) -> None:
        event_n = byte_n = 0
        oldest: datetime | None = None
        for part in self._parts.values():
            if part.place.is_done or part.is_lost:
                continue
            waiting = part.waiting()
            if waiting.event_n:
                self._register(part)
            event_n += waiting.event_n
            byte_n += waiting.byte_n
            oldest = min(filter(None, (oldest, waiting.oldest_at)), default=None)
        Status(self._clock(), self._problem, self.done.record_n, event_n, byte_n, oldest).save(self._folder)
        now = time.monotonic()
        if now - self._said_at >= SAY_SECONDS and self.done.record_n > self._said_n:
            self._say(f"{self.done.record_n:,} events sent, {event_n:,} wait.")
            self._said_at, self._said_n = now, self.done.record_n

    def _release(self) -> None:
        """Unlink the segments of which all is acknowledged and old enough; empty ones at the same age."""
        before = self._clock() - self._keep
        gone = []
        for segment in log.segments(self._folder):
            started_at = datetime.fromtimestamp(segment.start_ms / 1000, UTC)
            place, part = self._cursor.places.get(segment.name), self._parts.get(segment.name)
            is_empty = place is None and part is not None and part.is_read and part.read_to == 0
            if (is_empty or (place and place.is_done)) and ((place and place.newest_at) or started_at) < before:
                gone.append(segment)
        if gone:
            self._save()  # that they are done must be known before they are gone
            self._note_released(gone)
        for segment in gone if not self._is_moved else ():
            log.remove(segment)
            self._cursor.places.pop(segment.name, None)
            self._parts.pop(segment.name, None)
            self._is_moved = True

    def _note_released(self, gone: Sequence[log.Segment]) -> None:
        """Name them to whoever lands from the log, for as long as Kafka keeps what they held."""
        since_ms = _ms(self._clock() - self._keep) - RETENTION_MS
        named = {name for name in load_released(self._folder) if int(name.rpartition("-")[2]) >= since_ms}
        try:
            save_released(self._folder, named | {segment.name for segment in gone})
        except OSError as error:
            self._is_moved = True
            self._tell(f"The cursor cannot be written ({error.strerror}). Free space on the disk of {self._folder}.")

    def _tell(self, problem: str) -> None:
        """Say a problem once; that it is over, too."""
        if problem != self._problem:
            self._say(problem or "Kafka takes events again.")
        self._problem = problem


def _refusal(error: KafkaError) -> str:
    mend = "It is sent again."
    if isinstance(error, MessageSizeTooLargeError):
        mend = f"Raise max.message.bytes of the topic to {BATCH_BYTES}; it is sent again until then."
    return f"Kafka refused a record ({type(error).__name__}: {str(error)[:200]}). {mend}"


class _Broken(Exception):
    """The producer is of no use any more; the message is for people."""


@dataclass
class _Part:
    """A segment that is not done. `read_to` is the last sequence number that was handed to the producer."""

    segment: log.Segment
    place: Place
    read_to: int = field(init=False)
    is_read: bool = False  # it is closed and nothing is behind read_to
    is_lost: bool = False
    look_at: float = -float("inf")  # when to read it even if it seems unchanged
    seen: tuple[int, int] = (0, 0)
    trouble: str = ""
    _waiting: tuple[object, log.Waiting] | None = None

    def __post_init__(self) -> None:
        self.read_to = self.place.next_sequence - 1
        self.header = ("segment", self.segment.name.encode())
        self._wal = self.segment.path.with_name(self.segment.path.name + "-wal")

    def stamp(self) -> tuple[int, int]:
        """Changes with almost every append, and costs no more than a glance."""
        try:
            found = self._wal.stat()
        except OSError:
            return (0, 0)
        return found.st_mtime_ns, found.st_size

    def waiting(self) -> log.Waiting:
        """What of it is not acknowledged."""
        key = (self.place.next_sequence, self.stamp())
        if self._waiting is None or self._waiting[0] != key:
            self._waiting = key, self.segment.waiting(self.place.next_sequence - 1)
        return self._waiting[1]


class _Window:
    """The records under way, in the order of the log, and where their chunks end."""

    def __init__(self) -> None:
        self.futures: deque[tuple[Any, int]] = deque()
        self.cost = 0
        self.moved_n = self.answer_n = 0
        self.moved_at = self.probe_at = 0.0
        self._ends: deque[tuple[int, _Part, int, datetime | None]] = deque()
        self._sent_n = self._acked_n = 0

    def add(self, future: Any, cost: int) -> None:
        if not self.futures:
            self.moved_at = time.monotonic()
        self.futures.append((future, cost))
        self.cost += cost
        self._sent_n += 1

    def end(self, part: _Part, chunk: log.Chunk) -> None:
        """All records of the chunk were added."""
        self._ends.append((self._sent_n, part, chunk.sequence, chunk.last_received_at))

    def settled(self) -> Iterator[tuple[_Part, int, datetime | None]]:
        """Of the chunks that are acknowledged whole, as all before them: segment, sequence, newest receipt."""
        futures, before = self.futures, self._acked_n
        while futures and futures[0][0].succeeded():
            self.cost -= futures.popleft()[1]
            self._acked_n += 1
        if self._acked_n > before:
            self.moved_n += self._acked_n - before
            self.moved_at = time.monotonic()
        while self._ends and self._ends[0][0] <= self._acked_n:
            yield self._ends.popleft()[1:]

    def refusal(self) -> KafkaError | None:
        """Why the oldest record failed, if it did; what was acknowledged before it is settled already."""
        oldest = self.futures[0][0] if self.futures else None
        return oldest.exception if oldest is not None and oldest.failed() else None


class _Line(msgspec.Struct):
    """What of a line goes into its key and time; a line with a reason is a reject."""

    received_at: str
    source: str | None = None
    event_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    reason: str | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Line).decode


@lru_cache(maxsize=1024)
def _text_ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return _ms(at if at.tzinfo else at.replace(tzinfo=UTC))


def _ms(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
