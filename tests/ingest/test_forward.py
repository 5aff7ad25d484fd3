"""What the log holds reaches a real broker: in order, with its place, none lost whatever happens on the way."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from ingest import forward, log
from ingest.cursor import CursorError, load_cursor, load_status
from ingest.forward import Forwarded, Forwarder, Tuning
from stack.broker import PASSWORD, USER, Broker

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 22, 10, 0, 0, 123000, tzinfo=UTC)
names = itertools.count()

Place = tuple[str, int, int]


@pytest.fixture
def topic() -> str:
    return f"forward-{os.getpid()}-{next(names)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def clock() -> datetime:
    return datetime.now(UTC)


def client(broker: Broker, **more: Any) -> dict[str, Any]:
    keys = ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password", "ssl_cafile", "ssl_certfile", "ssl_keyfile")
    empty = dict.fromkeys(keys)
    return {"bootstrap_servers": [broker.bootstrap], "security_protocol": "PLAINTEXT", **empty, **more}


def event(number: int, visitor: int = 0, **more: Any) -> bytes:
    at = (START + timedelta(milliseconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {"event_id": f"e{number}", "source": "web", "anonymous_id": f"v{visitor}", "received_at": at}
    return json.dumps(fields | more).encode()


def write(folder: Path, *chunks: list[bytes]) -> log.Segment:
    """A closed segment with these chunks."""
    writer = log.Writer(folder, clock=clock)
    for lines in chunks:
        name, _ = writer.append(lines, START, START + timedelta(seconds=1))
    writer.close()
    return next(each for each in log.segments(folder) if each.name == name)


def places(folder: Path) -> dict[Place, bytes]:
    """All lines of the log under their places."""
    return {
        (segment.name, chunk.sequence, index): line
        for segment in log.segments(folder)
        for chunk in segment.chunks(0)
        for index, line in enumerate(chunk.lines)
    }


def records(broker: Broker, topic: str) -> list[Any]:
    """All records of a topic, partition by partition, with their headers as a mapping."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="none")
    try:
        parts = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(parts)
        found = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for some in consumer.poll(timeout_ms=200, max_records=50_000).values():
                found += some
        return [each._replace(headers=dict(each.headers)) for each in found]
    finally:
        consumer.close()


def place(record: Any) -> Place:
    headers = record.headers
    return headers["segment"].decode(), int(headers["sequence"]), int(headers["index"])


def drain(folder: Path, broker: Broker, topic: str, **more: Any) -> Forwarded:
    return Forwarder(folder, client=client(broker), topic=topic, clock=clock, **more).run(threading.Event(), drain=True)


class Running:
    """A forwarder in a thread of its own, and what it said."""

    def __init__(self, folder: Path, broker: Broker, topic: str, **tuning: Any) -> None:
        self.said: list[str] = []
        self.forwarder = Forwarder(
            folder,
            client=client(broker),
            topic=topic,
            clock=clock,
            say=self.said.append,
            tuning=Tuning(retry_s=0.2, **tuning),
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.forwarder.run, args=(self.stop,))


@contextmanager
def running(folder: Path, broker: Broker, topic: str, **tuning: Any) -> Iterator[Running]:
    one = Running(folder, broker, topic, **tuning)
    one.thread.start()
    try:
        yield one
    finally:
        one.stop.set()
        one.thread.join(30)
        assert not one.thread.is_alive()


def until(what: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


def test_each_line_is_a_record_with_its_key_time_and_place(folder: Path, topic: str, broker: Broker) -> None:
    reject = b'{"reason":"bad_id","detail":"x","bytes":"","received_at":"2026-11-22T10:00:00.456Z"}'
    by_user = event(7, anonymous_id=None, user_id="u7")
    deep = b'{"source":' * 5000 + b"1" + b"}" * 5000
    write(folder, [event(n, n % 5) for n in range(20)], [reject, b"no json", deep])
    write(folder, [event(n, n % 5) for n in range(20, 40)], [by_user])
    done = drain(folder, broker, topic)
    found = records(broker, topic)
    assert done.record_n == len(found) == 44
    assert {place(each): each.value for each in found} == places(folder)
    assert {each.headers["version"] for each in found} == {b"1"}
    first, *_ = [each for each in found if each.value == event(3, 3)]
    assert (first.key, first.timestamp) == (b"web\x1fv3", int(START.timestamp() * 1000) + 3)
    assert next(each.key for each in found if each.value == by_user) == b"web\x1fu7"
    (rejected,) = [each for each in found if each.value == reject]
    assert (rejected.key, rejected.timestamp % 1000) == (None, 456)
    assert [each.key for each in found if each.value in (b"no json", deep)] == [None, None]
    for visitor in range(5):
        own = [each for each in found if each.key == b"web\x1fv%d" % visitor]
        assert len({each.partition for each in own}) == 1
        numbers = [int(json.loads(each.value)["event_id"][1:]) for each in own]
        assert numbers == sorted(numbers)


def test_the_topic_is_made_with_settings_that_fit(folder: Path, topic: str, broker: Broker) -> None:
    said: list[str] = []
    drain(folder, broker, topic, partitions=3, say=said.append)
    assert said == [f"Made the topic {topic} with 3 partitions."]
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    (found,) = admin.describe_topics([topic])
    settings = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    admin.close()
    assert len(found["partitions"]) == 3
    values = {key: each["value"] for key, each in settings["topic"][topic].items()}
    assert values["cleanup.policy"] == "delete"
    assert 7 <= int(values["retention.ms"]) / 86_400_000 <= 14
    assert int(values["max.message.bytes"]) > 900 * 1024
    assert int(values["message.timestamp.after.max.ms"]) > 10**15


def test_what_is_appended_while_it_runs_follows_at_once(folder: Path, topic: str, broker: Broker) -> None:
    writer = log.Writer(folder, clock=clock)
    with running(folder, broker, topic) as one:
        until(lambda: one.said)
        for number in range(5):
            writer.append([event(number)], clock(), clock())
            until(lambda n=number: one.forwarder.done.record_n == n + 1, 15)  # type: ignore[misc]
        writer.close()
        writer = log.Writer(folder, clock=clock)
        writer.append([event(9)], clock(), clock())
        until(lambda: one.forwarder.done.record_n == 6, 15)
    writer.close()
    assert len(records(broker, topic)) == 6


def test_a_log_has_one_forwarder(folder: Path, topic: str, broker: Broker) -> None:
    Forwarder(folder, client=client(broker), topic=topic, clock=clock)._hold.release()
    with running(folder, broker, topic), pytest.raises(CursorError, match=f"process {os.getpid()}"):
        Forwarder(folder, client=client(broker), topic=topic, clock=clock)
    with pytest.raises(CursorError, match="Set it back"):
        Forwarder(folder, client=client(broker), topic="other", clock=clock)
    drain(folder, broker, topic)


def test_a_password_and_scram_let_it_in(folder: Path, topic: str, broker: Broker) -> None:
    write(folder, [event(1)])
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": USER, "sasl_plain_password": PASSWORD}
    address = [f"127.0.0.1:{broker.ports['SASL_PLAINTEXT']}"]
    given = client(broker, bootstrap_servers=address, security_protocol="SASL_PLAINTEXT", **login)
    Forwarder(folder, client=given, topic=topic, clock=clock).run(threading.Event(), drain=True)
    assert len(records(broker, topic)) == 1


def start(home: Path, broker: Broker, topic: str) -> subprocess.Popen[str]:
    env = os.environ | {"FOOTFALL_KAFKA__BOOTSTRAP": broker.bootstrap, "FOOTFALL_KAFKA__TOPIC": topic}
    command = [sys.executable, "-W", "ignore", "footfall.py", "forward", "--home", str(home)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_killed_forwarder_goes_on_without_a_hole(tmp_path: Path, topic: str, broker: Broker) -> None:
    (tmp_path / "footfall.toml").write_text('[[source]]\nname = "web"\n\n[log]\nkeep = "3650d"\n')
    folder = tmp_path / "log"
    for number in range(4):
        write(folder, *([event(number * 5000 + n * 20 + i, i) for i in range(20)] for n in range(250)))
    first = log.segments(folder)[0].name
    for wanted in (1, 80, 160):
        process = start(tmp_path, broker, topic)
        until(lambda n=wanted: load_cursor(folder, topic)[0].places.get(first, 0) and cursor_sum(folder, topic) > n)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = {place(each) for each in records(broker, topic)}
        for name, at in load_cursor(folder, topic)[0].places.items():
            missing = [key for key in places(folder) if key[0] == name and key[1] < at.next_sequence]
            assert set(missing) <= there
    process = start(tmp_path, broker, topic)
    try:
        until(lambda: cursor_sum(folder, topic) == 1000)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert said.splitlines()[-1].startswith("Ended: ")
    assert {place(each): each.value for each in records(broker, topic)} == places(folder)


def cursor_sum(folder: Path, topic: str) -> int:
    return sum(each.next_sequence - 1 for each in load_cursor(folder, topic)[0].places.values())


def test_a_broker_that_is_killed_or_down_only_delays(tmp_path: Path, topic: str, broker: Broker) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    writer = log.Writer(old, clock=clock)
    with running(old, broker, topic) as one:
        writer.append([event(n) for n in range(100)], clock(), clock())
        until(lambda: one.forwarder.done.record_n == 100)
        broker.kill()
        try:
            for number in range(100, 3000, 100):
                writer.append([event(number + n) for n in range(100)], clock(), clock())
            write(new, [event(n) for n in range(50)])
            with running(new, broker, f"{topic}-late") as late:
                until(lambda: late.said)
                assert late.said == [
                    f"No Kafka broker answers at {broker.bootstrap} (Connection refused). "
                    "Start it, or correct bootstrap in [kafka]."
                ]
                until(lambda: (status := load_status(new)) and status.lag_n == 50 and "No Kafka" in status.problem)
                broker.start()
                began = time.monotonic()
                until(lambda: one.forwarder.done.record_n == 3000 and late.forwarder.done.record_n == 50)
                assert time.monotonic() - began < 20  # a client left to itself waits for up to 30 s
        finally:
            broker.start()
            writer.close()
    status = load_status(new)
    assert status
    assert (status.problem, status.lag_n, status.oldest_at) == ("", 0, None)
    assert {place(each) for each in records(broker, topic)} == set(places(old))
    assert len(records(broker, f"{topic}-late")) == 50


def test_after_deliveries_were_given_up_a_new_producer_sends_all(folder: Path, topic: str, broker: Broker) -> None:
    writer = log.Writer(folder, clock=clock)
    with running(folder, broker, topic, delivery_s=2, stuck_s=2, probe_s=0.3) as one:
        writer.append([event(0)], clock(), clock())
        until(lambda: one.forwarder.done.record_n == 1)
        broker.pause()
        try:
            for number in range(1, 1000, 9):
                writer.append([event(number + n, n) for n in range(9)], clock(), clock())
            until(lambda: one.forwarder.done.rebuilt_n, 10)
        finally:
            broker.resume()
        until(lambda: one.forwarder.done.record_n >= 1000)
    writer.close()
    assert {place(each): each.value for each in records(broker, topic)} == places(folder)


def test_a_producer_that_hangs_is_noticed_and_made_anew(
    folder: Path, topic: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[KafkaProducer] = []

    class Kept(KafkaProducer):  # type: ignore[misc]
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            made.append(self)

    monkeypatch.setattr(forward, "KafkaProducer", Kept)
    writer = log.Writer(folder, clock=clock)
    with running(folder, broker, topic, stuck_s=1, probe_s=0.2) as one:
        writer.append([event(0)], clock(), clock())
        until(lambda: one.forwarder.done.record_n == 1)
        # What was seen of kafka-python: its thread lives, sends nothing, and gives nothing up.
        made[0]._sender.run_once = lambda: time.sleep(0.02)
        writer.append([event(1), event(2)], clock(), clock())
        until(lambda: one.forwarder.done.record_n == 3, 15)
        assert one.forwarder.done.rebuilt_n == 1
        assert any(each.startswith("Kafka answers, but acknowledged nothing for") for each in one.said)
    writer.close()
    assert not made[0]._sender.is_alive()
    assert {place(each) for each in records(broker, topic)} == set(places(folder))


def test_a_line_too_large_for_a_record_is_set_aside_by_name(folder: Path, topic: str, broker: Broker) -> None:
    large = event(1, title="x" * 950_000)
    fits = event(2, title="x" * 900_000)
    write(folder, [event(0), large, fits, event(3)])
    assert drain(folder, broker, topic).oversize_n == 1
    found = {place(each)[2]: each for each in records(broker, topic)}
    assert sorted(found) == [0, 1, 2, 3]
    assert (found[2].value, found[3].value) == (fits, event(3))
    said = json.loads(found[1].value)
    assert (said["reason"], said["source"], found[1].key) == ("oversize_record", "web", None)
    assert len(said["bytes"]) < 100_000


def test_a_topic_that_takes_less_holds_the_cursor_and_says_so(folder: Path, topic: str, broker: Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    small = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "20000"}}
    admin.create_topics({topic: small}, wait_for_metadata=True)
    noise = random.Random(1).randbytes(60_000).hex()
    write(folder, [event(0)], [event(1, title=noise)], [event(2)])
    with running(folder, broker, topic) as one:
        until(lambda: any("Raise max.message.bytes of the topic" in each for each in one.said))
        until(lambda: one.forwarder.done.rebuilt_n > 1)
        assert one.forwarder.done.record_n == 1
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "1048576"})])
        until(lambda: one.forwarder.done.record_n == 3)
    admin.close()
    assert {place(each): each.value for each in records(broker, topic)} == places(folder)


def test_what_the_log_lost_is_said_in_the_topic(folder: Path, topic: str, broker: Broker) -> None:
    damaged = write(folder, [event(0)], [event(1), event(2)], [event(3)])
    with sqlite3.connect(damaged.path) as con:
        con.execute("update chunks set body = zeroblob(20) where sequence = 2")
    con.close()
    writer = log.Writer(folder, clock=clock)
    name, _ = writer.append([event(4)], clock(), clock())
    said: list[str] = []
    drain(folder, broker, topic, say=said.append)
    assert load_cursor(folder, topic)[0].places[damaged.name].is_done
    for path in folder.glob(f"{name}*"):
        path.unlink()
    done = drain(folder, broker, topic, say=said.append)
    writer.close()
    gaps = {each.headers["gap"]: each for each in records(broker, topic) if "gap" in each.headers}
    assert place(gaps[b"damaged"]) == (damaged.name, 2, 0)
    assert json.loads(gaps[b"damaged"].value) == {"from": 2, "to": 3, "event_n": 2}
    assert place(gaps[b"lost"]) == (name, 2, 0)
    assert json.loads(gaps[b"lost"].value) == {"from": 2, "to": 2, "event_n": None}
    assert (done.gap_n, done.record_n, len(gaps)) == (1, 1, 2)
    assert f"The segment {damaged.name} of the log lacks 2: its checksum is wrong." in said
    assert drain(folder, broker, topic).record_n == 0


def test_a_topic_that_was_lost_is_made_and_filled_again(folder: Path, topic: str, broker: Broker) -> None:
    write(folder, [event(n) for n in range(10)])
    writer = log.Writer(folder, clock=clock)
    with running(folder, broker, topic, stuck_s=1, probe_s=0.2) as one:
        until(lambda: one.forwarder.done.record_n == 10)
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.delete_topics([topic])
        admin.close()
        writer.append([event(10)], clock(), clock())
        until(lambda: one.forwarder.done.record_n >= 21, 30)
    writer.close()
    assert f"The topic {topic} is not the one of before: all that the log holds is sent again." in one.said
    assert {place(each): each.value for each in records(broker, topic)} == places(folder)


def test_a_backlog_takes_little_memory_while_the_broker_hangs(tmp_path: Path, topic: str, broker: Broker) -> None:
    (tmp_path / "footfall.toml").write_text('[[source]]\nname = "web"\n')
    folder = tmp_path / "log"
    process = start(tmp_path, broker, topic)
    try:
        until(lambda: load_status(folder))
        until(lambda: records(broker, topic) == [])
        before = rss(process.pid)
        broker.pause()
        padding = "y" * 500
        write(folder, *([event(n * 1000 + i, i, title=padding) for i in range(1000)] for n in range(100)))
        until(lambda: (status := load_status(folder)) and status.lag_n == 100_000)
        most = 0
        for _ in range(20):
            most = max(most, rss(process.pid))
            time.sleep(0.1)
    finally:
        broker.resume()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert most - before < 50 * 2**20, f"{(most - before) / 2**20:.0f} MiB more"


def rss(pid: int) -> int:
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def test_a_segment_goes_when_it_is_acknowledged_closed_and_old(folder: Path, topic: str, broker: Broker) -> None:
    closed = write(folder, [event(0)])
    writer = log.Writer(folder, clock=clock)
    writer.append([event(1)], clock(), clock())

    def left(age: timedelta) -> set[bytes]:
        later = clock() + age
        one = Forwarder(
            folder, client=client(broker), topic=topic, clock=lambda: later, keep=timedelta(hours=1), say=print
        )
        one.run(threading.Event(), drain=True)
        return set(places(folder).values())

    both = {event(0), event(1)}
    assert left(timedelta(hours=2)) == both  # nothing was acknowledged when it looked
    assert load_cursor(folder, topic)[0].places[closed.name].is_done
    assert left(timedelta(hours=-1) + (START - clock())) == both  # acknowledged, but not old
    assert left(timedelta(hours=2)) == {event(1)}  # the other one is still written
    writer.close()
    left(timedelta(0))
    assert left(timedelta(hours=2)) == set()
    assert load_cursor(folder, topic)[0].places == {}
    assert len(records(broker, topic)) == 2
