"""Landing from Kafka: each record becomes one row, one duplicate, one reject or a gap, whatever lies in the topic."""

from __future__ import annotations

import importlib
import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions, NewTopic

import config
import steps
from ingest.cursor import load_status
from ingest.forward import Forwarder
from ingest.from_kafka import FromKafka
from ingest.from_log import FromLog
from ingest.land import Landed, LandingRefused, land
from ingest.log import Writer
from ingest.source import LandingError
from stack.broker import Broker
from tests.ingest.test_land import START, event, ids, now, reject
from warehouse import Warehouse, open_warehouse

HOUR = timedelta(hours=1)
AT_MS = int(START.timestamp() * 1000)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    opened = open_warehouse(home / "warehouse.duckdb")
    yield opened
    opened.close()


class Topic:
    """A topic of its own, for writing what a forwarder would send and what it never would."""

    def __init__(self, broker: Broker, partitions: int = 1, **settings: str) -> None:
        self.client = {"bootstrap_servers": [broker.bootstrap], "security_protocol": "PLAINTEXT"}
        self.name = f"t-{secrets.token_hex(4)}"
        self.admin = KafkaAdminClient(**self.client)
        self.partitions = partitions
        self.settings = settings
        self.make()
        self.producer = KafkaProducer(**self.client, max_request_size=20 << 20, linger_ms=5)
        self._number = itertools.count()

    def make(self) -> None:
        self.admin.create_topics([NewTopic(self.name, self.partitions, 1, topic_configs=self.settings)])

    def raw(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int = 0,
        at: datetime = START,
    ) -> Any:
        at_ms = int(at.timestamp() * 1000)
        return self.producer.send(
            self.name, value, key=b"k", headers=list(headers), partition=partition, timestamp_ms=at_ms
        )

    def send(self, *lines: bytes | None, segment: str = "00000000-1", first: int | None = None, **more: Any) -> None:
        """Lines as records, each a chunk of its own."""
        for line in lines:
            sequence = next(self._number) + 1 if first is None else first
            headers = [
                ("version", b"1"),
                ("segment", segment.encode()),
                ("sequence", b"%d" % sequence),
                ("index", b"0"),
            ]
            self.raw(line, headers, **more)
        self.producer.flush()

    def source(self, folder: Path) -> FromKafka:
        return FromKafka(self.client, self.name, folder / "log")

    def close(self) -> None:
        self.producer.close()
        self.admin.close()


@pytest.fixture
def topic(broker: Broker) -> Iterator[Topic]:
    made = Topic(broker)
    yield made
    made.close()


def assert_covered(warehouse: Warehouse, topic: str) -> None:
    """span = read + gap, and spans tile; all from the tables."""
    assert warehouse.execute(
        "select part, next_position from raw.positions where topic = $topic order by part", {"topic": topic}
    ) == warehouse.execute(
        "select part, max(to_position) from raw.spans where topic = $topic group by part order by part",
        {"topic": topic},
    )
    spans = warehouse.execute(
        "select from_position, lag(to_position, 1, 0) over (partition by part order by landing_id), "
        "from raw.spans where topic = $topic",
        {"topic": topic},
    )
    assert all(begin == end for begin, end in spans)
    assert warehouse.value(
        "select sum(to_position - from_position - read_n) from raw.spans where topic = $topic", {"topic": topic}
    ) == warehouse.value(
        "select coalesce(sum(to_position - from_position), 0) from raw.gaps where topic = $topic", {"topic": topic}
    )
    assert warehouse.execute("select count(*) from raw.landings where read_n != new_n + duplicate_n + rejected_n") == [
        (0,)
    ]
    assert warehouse.value("select count(*) from raw.events") == warehouse.value(
        "select count(distinct (topic, part, record_offset, index_in_record)) from raw.events"
    )


def test_records_land_with_both_their_places(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    topic.send(event("e1"), reject("bad_time", b"raw"), event("e2"))
    assert land(warehouse, topic.source(home), clock=now) == Landed(3, 2, 0, 1, 0, 1)
    assert warehouse.execute(
        "select topic, part, record_offset, index_in_record, log_segment, log_sequence, log_index, event_id "
        "from raw.events order by event_no"
    ) == [
        (topic.name, "0", 0, 0, "00000000-1", 1, 0, "e1"),
        (topic.name, "0", 2, 0, "00000000-1", 3, 0, "e2"),
    ]
    assert warehouse.execute("select record_offset, log_sequence, reason, bytes from raw.rejected") == [
        (1, 2, "bad_time", b"raw")
    ]
    assert land(warehouse, topic.source(home), clock=now) == Landed()
    assert_covered(warehouse, topic.name)


GOOD = [("version", b"1"), ("segment", b"00000000-1"), ("sequence", b"7"), ("index", b"0")]
POISON: dict[str, tuple[bytes | None, list[tuple[str, bytes]]]] = {
    "tombstone": (None, GOOD),
    "empty": (b"", GOOD),
    "no utf-8": (event("x", name="HERE").replace(b"HERE", b"\xff"), GOOD),
    "no json": (b"hello", GOOD),
    "10 MB": (b"x" * (10 << 20), []),
    "somebody else's": (event("x"), []),
    "another version": (event("x"), [("version", b"2"), *GOOD[1:]]),
    "no sequence": (event("x"), GOOD[:2]),
    "sequence no number": (event("x"), [*GOOD[:2], ("sequence", b"seven"), GOOD[3]]),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_poison_is_one_reject_and_its_neighbours_land(
    warehouse: Warehouse, broker: Broker, home: Path, poison: tuple[bytes | None, list[tuple[str, bytes]]]
) -> None:
    topic = Topic(broker, **{"max.message.bytes": str(20 << 20)})
    topic.send(event("e1"))
    topic.raw(*poison)
    topic.send(event("e2"))
    topic.close()
    assert land(warehouse, topic.source(home), clock=now) == Landed(3, 2, 0, 1, 0, 1)
    assert ids(warehouse) == ["e1", "e2"]
    ((offset, reason, kept),) = warehouse.execute("select record_offset, reason, bytes from raw.rejected")
    assert (offset, reason, kept) == (1, "undecodable", None if poison[0] is None else poison[0][:65536])
    assert_covered(warehouse, topic.name)


def test_a_topic_that_is_not_ours_stops_the_landing(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    for number in range(1000):
        topic.raw(b"order %d" % number)
    topic.send(event("e1"))
    with pytest.raises(LandingError, match=r"1,000 of 1,001 records of .* are no events of footfall .*\[kafka\] topic"):
        land(warehouse, topic.source(home), clock=now)
    assert warehouse.value("select count(*) from raw.positions") == 0


def test_resends_fall_out_by_their_place_on_the_log(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    """A reject has no id: only the coordinate tells its resend from another one that is alike."""
    topic.send(reject("bad_time"), event("e1"), first=1)
    topic.send(reject("bad_time"), event("e1"), first=1)
    assert land(warehouse, topic.source(home), clock=now) == Landed(4, 1, 2, 1, 0, 1)
    topic.send(reject("bad_time"), first=1)
    topic.send(reject("bad_time"), first=2)
    assert land(warehouse, topic.source(home), clock=now) == Landed(2, 0, 1, 1, 0, 1)
    assert_covered(warehouse, topic.name)


def forward(topic: Topic, folder: Path, keep: timedelta = 24 * HOUR) -> None:
    Forwarder(folder, client=topic.client, topic=topic.name, keep=keep, clock=now).run(Flag(), drain=True)


def test_what_landed_from_the_log_does_not_land_again_from_kafka_nor_back(
    warehouse: Warehouse, topic: Topic, home: Path
) -> None:
    writer = Writer(home / "log", clock=now)
    writer.append([event("e1"), reject("bad_time"), b"broken", event("e2")], START, START)
    assert land(warehouse, FromLog(home / "log"), clock=now) == Landed(4, 2, 0, 2, 0, 1)
    writer.append([event("e3"), reject("bad_time")], START, START)
    forward(topic, home / "log")
    assert land(warehouse, topic.source(home), clock=now) == Landed(6, 1, 4, 1, 0, 1)
    writer.append([event("e4")], START, START)
    writer.close()
    assert land(warehouse, FromLog(home / "log"), clock=now) == Landed(3, 1, 2, 0, 0, 1)
    assert ids(warehouse) == ["e1", "e2", "e3", "e4"]


def test_a_segment_that_went_to_kafka_before_it_had_landed_from_the_log_is_not_lost(
    warehouse: Warehouse, topic: Topic, home: Path
) -> None:
    at = START - HOUR
    writer, later = (Writer(home / "log", clock=lambda: at) for _ in range(2))
    writer.append([event("e1")], at, at)
    later.append([event("e2")], at, at)
    assert land(warehouse, FromLog(home / "log"), clock=now).new_n == 2
    name, _ = writer.append([event("e3"), event("e4")], at, at)
    writer.close()
    forward(topic, home / "log")
    forward(topic, home / "log", keep=timedelta(0))
    gone, _ = later.append([event("e5")], at, at)
    later.close()
    left = sorted((home / "log").glob("*.db"))
    assert [path.stem for path in left] == [gone]
    left[0].unlink()
    settings = config.read('[[source]]\nname = "web"\n[kafka]\nbootstrap = ["127.0.0.1:9092"]\n', {})
    changed, said = steps.land(home, settings, warehouse, source="log")
    assert changed
    assert "Nobody knows how many events are missing, in 1 gaps: see raw.gaps. 1 segments went to Kafka before" in said
    assert warehouse.execute("select part, cause from raw.gaps") == [(gone, "lost")]
    assert land(warehouse, FromLog(home / "log"), clock=now) == Landed()
    landed = land(warehouse, topic.source(home), clock=now)
    assert (landed.new_n, landed.duplicate_n, landed.hole_n) == (2, 2, 0)
    assert sorted(ids(warehouse)) == ["e1", "e2", "e3", "e4"]
    assert warehouse.value("select count(*) from raw.positions where part = $name and is_done", {"name": name}) == 1


def test_both_sources_give_the_same_rows(topic: Topic, home: Path) -> None:
    lines = [event(f"e{n % 40}", at=START + timedelta(minutes=n), seq=n) for n in range(60)]
    lines[5:5] = [reject("too_deep", b"z" * 70_000), b"broken", event("x", seq="many")]
    writer = Writer(home / "log", clock=now)
    for first in range(0, len(lines), 7):
        writer.append(lines[first : first + 7], START, START)
    writer.close()
    forward(topic, home / "log")
    found = []
    for source in (FromLog(home / "log"), topic.source(home)):
        warehouse = open_warehouse(None)
        assert land(warehouse, source, clock=now, batch_events=20).read_n == len(lines)
        found.append(
            [
                warehouse.execute("select * exclude (topic, part, record_offset, index_in_record, log_segment, "
                                  "log_sequence, log_index, landing_id, event_no) from raw.events order by event_no"),
                warehouse.execute("select source, protocol, reason, bytes, received_at from raw.rejected "
                                  "order by landing_id, record_offset, index_in_record"),
            ]
        )  # fmt: skip
        warehouse.close()
    assert found[0] == found[1]


def test_what_retention_took_is_a_gap_and_the_rest_lands(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    topic.send(event("e1"))
    land(warehouse, topic.source(home), clock=now)
    topic.send(event("e2"), event("e3"), event("e4"))
    topic.admin.delete_records({TopicPartition(topic.name, 0): 3})
    assert land(warehouse, topic.source(home), clock=now) == Landed(1, 1, 0, 0, 2, 1, 1)
    assert ids(warehouse) == ["e1", "e4"]
    assert warehouse.execute("select part, from_position, to_position, event_n, cause from raw.gaps") == [
        ("0", 1, 3, 2, "lost")
    ]
    assert_covered(warehouse, topic.name)


def test_a_topic_made_anew_is_noticed_and_read_from_its_start(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    topic.send(event("e1"), event("e2"))
    land(warehouse, topic.source(home), clock=now)
    topic.admin.delete_topics([topic.name])
    remade(topic)
    topic.send(event("e3"), event("e4"), event("e5"))
    assert land(warehouse, topic.source(home), clock=now) == Landed(3, 3, 0, 0, 0, 1, 1)
    assert ids(warehouse) == ["e1", "e2", "e3", "e4", "e5"]
    assert warehouse.execute("select part, from_position, event_n, cause from raw.gaps") == [("0", 2, None, "lost")]
    assert warehouse.execute("select part, next_position, is_done from raw.positions order by part") == [
        ("0", 2, True),
        ("0@2", 3, False),
    ]
    assert land(warehouse, topic.source(home), clock=now) == Landed()
    assert_covered(warehouse, topic.name)


def remade(topic: Topic) -> None:
    """Create it again; the broker needs a moment to forget the old one."""
    for _ in range(100):
        with_error = None
        try:
            topic.make()
        except Exception as error:
            with_error = error
            Flag().wait(0.1)
        if with_error is None:
            break
    topic.producer.close()
    topic.producer = KafkaProducer(**topic.client)


def test_new_partitions_are_read_from_their_start(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    topic.send(event("e1"))
    land(warehouse, topic.source(home), clock=now)
    topic.admin.create_partitions({topic.name: NewPartitions(3)})
    topic.producer.close()
    topic.producer = KafkaProducer(**topic.client)
    topic.send(event("e2"), partition=2)
    assert land(warehouse, topic.source(home), clock=now).new_n == 1
    assert warehouse.execute("select part, next_position from raw.positions order by part") == [("0", 1), ("2", 1)]
    assert_covered(warehouse, topic.name)


def test_marks_of_transactions_are_gaps_of_their_own_kind(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    producer = KafkaProducer(**topic.client, transactional_id=secrets.token_hex(4))
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic.name, event("e1"), headers=GOOD, partition=0, timestamp_ms=AT_MS).get()
    producer.commit_transaction()
    producer.close()
    assert land(warehouse, topic.source(home), clock=now) == Landed(1, 1, 0, 0, 0, 1, 1)
    assert warehouse.execute("select from_position, to_position, event_n, cause from raw.gaps") == [
        (1, 2, None, "control")
    ]
    assert_covered(warehouse, topic.name)


def test_what_the_forwarder_could_not_read_is_a_gap_of_the_log_once(
    warehouse: Warehouse, topic: Topic, home: Path
) -> None:
    headers = [*GOOD, ("gap", b"damaged")]
    told = json.dumps({"from": 7, "to": 8, "event_n": 12}).encode()
    topic.send(event("e1"))
    topic.raw(told, headers)
    topic.raw(told, headers)
    topic.send(event("e2"))
    assert land(warehouse, topic.source(home), clock=now) == Landed(2, 2, 0, 0, 12, 1, 1)
    topic.raw(told, headers)
    topic.producer.flush()
    assert land(warehouse, topic.source(home), clock=now).hole_n == 0
    assert warehouse.execute("select topic, part, from_position, to_position, event_n, cause from raw.gaps") == [
        ("log", "00000000-1", 7, 8, 12, "damaged")
    ]


def test_the_clock_stands_where_the_forwarder_is(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    writer = Writer(home / "log", clock=now)
    writer.append([event("e1")], START, START)
    forward(topic, home / "log")
    later = START + 2 * HOUR
    land(warehouse, topic.source(home), clock=lambda: later)
    clocks = "select landed_at, (select max(caught_up_at) from raw.positions) from raw.clock"
    assert warehouse.execute(clocks) == [(later.replace(tzinfo=None),) * 2]
    writer.append([event("e2", at=START + HOUR)], START + HOUR, START + HOUR)
    land(warehouse, topic.source(home), clock=lambda: later)
    assert warehouse.execute(clocks) == [((START + HOUR).replace(tzinfo=None),) * 2]
    forward(topic, home / "log")
    land(warehouse, topic.source(home), clock=lambda: later)
    assert warehouse.execute(clocks) == [(later.replace(tzinfo=None),) * 2]
    writer.close()


def test_the_clock_does_not_pass_a_segment_that_cannot_be_asked(warehouse: Warehouse, topic: Topic, home: Path) -> None:
    began = START - HOUR
    writer = Writer(home / "log", clock=lambda: began)
    writer.append([event("e1")], START, START)
    (path,) = (home / "log").glob("*.db")
    path.write_bytes(b"x" * path.stat().st_size)
    forward(topic, home / "log")
    assert (status := load_status(home / "log"))
    assert "behind" in status.trouble(status.at)
    land(warehouse, topic.source(home), clock=lambda: START + HOUR)
    assert warehouse.value("select landed_at from raw.clock") == began.replace(tzinfo=None)
    writer.close()


def test_of_two_landings_the_one_with_the_old_position_is_refused(
    warehouse: Warehouse, topic: Topic, home: Path
) -> None:
    topic.send(*[event(f"e{n}", title="y" * 1000) for n in range(6)])
    other = open_warehouse(home / "warehouse.duckdb")
    source = topic.source(home)
    positions = source.reading({}, START)
    with positions as stale:
        batch = next(stale.batches(100, 1 << 20))
        assert land(other, topic.source(home), clock=now).new_n == 6
        other.close()
        lander = importlib.import_module("ingest.land")._Lander(
            warehouse, topic.name, stale.topic_id, set(), START.replace(tzinfo=None), HOUR
        )
        with pytest.raises(LandingRefused, match="Another landing moved the position"):
            lander.land(batch, importlib.import_module("ingest.incoming").Incoming(batch.lines))
    assert warehouse.value("select count(*) from raw.events") == 6
    assert_covered(warehouse, topic.name)


@pytest.mark.parametrize("harm", ["checksum", "compression"])
def test_a_damaged_batch_is_a_gap_and_its_neighbours_land(
    warehouse: Warehouse, home: Path, tmp_path_factory: pytest.TempPathFactory, harm: str
) -> None:
    """Bytes are changed in the broker's own file while it stands still."""
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    with broker:
        topic = Topic(broker)
        for number in range(5):
            topic.send(event(f"e{number}", title=f"mark-{number}"))
        topic.close()
    (path,) = (broker.folder / "data" / f"{topic.name}-0").glob("*.log")
    data = bytearray(path.read_bytes())
    at = data.index(b"mark-2")
    if harm == "checksum":
        data[at] ^= 0xFF
    else:
        # The batch calls itself gzip, under a right checksum; what follows is no gzip.
        from crc32c import crc32c

        begin = max(k for k in range(at) if data[k : k + 8] == (2).to_bytes(8, "big") and data[k + 16] == 2)
        length = int.from_bytes(data[begin + 8 : begin + 12], "big")
        data[begin + 22] = (data[begin + 22] & ~7) | 1
        body = bytes(data[begin + 21 : begin + 12 + length])
        data[begin + 17 : begin + 21] = crc32c(body).to_bytes(4, "big")
    path.write_bytes(data)
    with broker:
        assert land(warehouse, topic.source(home), clock=now) == Landed(4, 4, 0, 0, 1, 1, 1)
    assert ids(warehouse) == ["e0", "e1", "e3", "e4"]
    assert warehouse.execute("select from_position, to_position, event_n, cause from raw.gaps") == [
        (2, 3, 1, "damaged")
    ]
    assert_covered(warehouse, topic.name)


def test_brokers_that_cannot_be_reached_are_one_sentence(warehouse: Warehouse, home: Path) -> None:
    client = {"bootstrap_servers": ["127.0.0.1:9"], "security_protocol": "PLAINTEXT"}
    with pytest.raises(LandingError, match=r"127\.0\.0\.1:9.*\[kafka\]"):
        land(warehouse, FromKafka(client, "t", home / "log"), clock=now)


def test_a_topic_that_is_not_there_is_one_sentence(warehouse: Warehouse, broker: Broker, home: Path) -> None:
    client = {"bootstrap_servers": [broker.bootstrap], "security_protocol": "PLAINTEXT"}
    with pytest.raises(LandingError, match="There is no topic none-such"):
        land(warehouse, FromKafka(client, "none-such", home / "log"), clock=now)
