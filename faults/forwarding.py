"""Faults on the way through Kafka: broker and forwarder killed, a broker that is away or hangs, a stuck producer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

import duckdb
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from faults.landing import POISON
from faults.oracle import chunks, id_of, judge_topic, read_topic
from faults.stage import Failed, Process, Result, Stage
from stack.broker import Broker

DRAIN_SECONDS = 90
READY_BYTES = 50 << 20


@contextmanager
def _broker(stage: Stage, *, is_started: bool = True) -> Iterator[Broker]:
    """A broker, and a home that knows it, with a topic of its own."""
    with stage.brokers.lent() as broker:
        stage.env |= {"FOOTFALL_KAFKA__BOOTSTRAP": broker.bootstrap, "FOOTFALL_KAFKA__TOPIC": stage.topic}
        if is_started:
            broker.start()
        else:
            broker.kill()
        yield broker


def killed_broker(stage: Stage) -> Result:
    """A2: kill -9 of the broker in a burst, back after 6 s: delivery goes on within 10 s."""
    with _broker(stage) as broker:
        collector, _ = stage.collect()
        forwarder = stage.start("forward")
        load = stage.load("--rate", "100", "--seconds", "4")
        time.sleep(1 + stage.rng.random() * 3)
        broker.kill()
        time.sleep(6)
        broker.start()
        up = time.monotonic()
        load.wait(60)
        sent = len(read_topic(broker.bootstrap, stage.topic))
        _until(lambda: len(read_topic(broker.bootstrap, stage.topic)) > sent or _is_drained(stage, broker))
        recovery_s = time.monotonic() - up
        stage.end(collector)
        return _landed(stage, broker, forwarder, recovery_s)


def killed_forwarder(stage: Stage) -> Result:
    """A2: kill -9 of the forwarder at random, also between an acknowledgement and the cursor: resends are removed."""
    with _broker(stage) as broker:
        collector, _ = stage.collect()
        load = stage.load("--rate", "100", "--seconds", "4")
        kill_n = 3
        for _ in range(kill_n):
            forwarder = stage.start("forward")
            _until(lambda: (stage.home / "log" / "forward.lock").exists())
            time.sleep(0.5 + stage.rng.random() * 2)
            stage.kill(forwarder)
        load.wait(60)
        stage.end(collector)
        began = time.monotonic()
        said = stage.folder / "forward.txt"
        before = said.stat().st_size
        forwarder = stage.start("forward")
        # Even with nothing left to send it must be up before it can be asked to end.
        _until(lambda: b"Forwarding" in said.read_bytes()[before:] and _is_drained(stage, broker))
        return _landed(stage, broker, forwarder, time.monotonic() - began, kill_n)


def long_outage(stage: Stage, seconds: float = 20) -> Result:
    """A3: the broker is away for 20 s at 250 requests a second: collector and forwarder take no notice."""
    with _broker(stage) as broker:
        collector, _ = stage.collect()
        forwarder = stage.start("forward")
        load = stage.load("--rate", "250", "--seconds", str(seconds + 4))
        time.sleep(2)
        before = [_rss(each) for each in (collector, forwarder)]
        broker.kill()
        time.sleep(seconds)
        grown = [_rss(each) - old for each, old in zip((collector, forwarder), before, strict=True)]
        with urlopen(f"{stage.url}/ready", timeout=10) as answer:
            said = answer.read().decode()
        stage.check("Kafka" in said or "behind" in said, f"/ready does not say that Kafka is away: {said}")
        broker.start()
        up = time.monotonic()
        load.wait(120)
        _until(lambda: _is_drained(stage, broker))
        recovery_s = time.monotonic() - up
        stage.check(max(grown) < READY_BYTES, f"collector and forwarder grew by {[each >> 20 for each in grown]} MiB")
        ledger = stage.ledger()
        stage.check(not ledger.refused_n and not ledger.cut_off_at, "the collector did not answer all with 2xx")
        stage.end(collector)
        return _landed(stage, broker, forwarder, recovery_s)


def broker_comes_late(stage: Stage) -> Result:
    """A4: there is no broker when collector and forwarder start: events are accepted, and go out later."""
    with _broker(stage, is_started=False) as broker:
        forwarder = stage.start("forward")
        collector, _ = stage.collect()
        load = stage.load("--rate", "100", "--seconds", "1")
        load.wait(60)
        ledger = stage.ledger()
        stage.check(ledger.acked == ledger.sent.keys(), "not all was acknowledged without a broker")
        broker.start()
        up = time.monotonic()
        _until(lambda: _is_drained(stage, broker))
        recovery_s = time.monotonic() - up
        stage.end(collector)
        return _landed(stage, broker, forwarder, recovery_s)


STUCK = """
    import json, sys, threading, time
    from datetime import UTC, datetime
    from pathlib import Path
    from kafka import KafkaProducer
    from ingest import forward

    made = []

    class Kept(KafkaProducer):
        def __init__(self, **given):
            super().__init__(**given)
            made.append(self)

    forward.KafkaProducer = Kept
    given = json.loads(sys.argv[1])
    one = forward.Forwarder(
        Path(given["log"]),
        client={"bootstrap_servers": [given["bootstrap"]], "security_protocol": "PLAINTEXT"},
        topic=given["topic"],
        clock=lambda: datetime.now(UTC),
        tuning=forward.Tuning(stuck_s=1, probe_s=0.2, retry_s=0.2, in_flight_bytes=50_000),
    )
    stop = threading.Event()

    def wedge():
        while not one.done.record_n:
            time.sleep(0.01)
        # What was seen of kafka-python after it gave a batch up: its thread lives, and sends nothing.
        made[0]._sender.run_once = lambda: time.sleep(0.02)
        time.sleep(given["seconds"])
        stop.set()

    threading.Thread(target=wedge, daemon=True).start()
    one.run(stop)
"""


def stuck_producer(stage: Stage) -> Result:
    """A3: kafka-python sends nothing any more and says nothing: the forwarder notices, and begins anew."""
    with _broker(stage) as broker:
        stage.write_log(3, 20, 25)
        given = {
            "log": str(stage.home / "log"),
            "bootstrap": broker.bootstrap,
            "topic": stage.topic,
            "seconds": 10 + stage.rng.random(),
        }
        began = time.monotonic()
        stage.script(STUCK, json.dumps(given), seconds=90)
        stage.check(_is_drained(stage, broker), "what the stuck producer held never arrived")
        return stage.topic_result(broker.bootstrap, stage.topic, time.monotonic() - began)


def forwarder_set_back(stage: Stage) -> Result:
    """A15: the forwarder's cursor is set back: what it sends again counts once, landed before or not."""
    with _broker(stage) as broker:
        ledger = stage.write_log(1, 8, 25, bad=_bad_lines(stage, 0))
        _forwarded(stage, broker)
        stage.run("land", "--from", "kafka")
        ledger.add(stage.write_log(1, 8, 25, first=200, bad=_bad_lines(stage, 200)))
        for _ in range(2):
            _forwarded(stage, broker)
            _set_back(stage)
        began = time.monotonic()
        _forwarded(stage, broker)
        copies = read_topic(broker.bootstrap, stage.topic)
        stage.check(len(copies) > len({record.place for record in copies}) + 100, "hardly anything was sent again")
        stage.run("land", "--from", "kafka")
        return stage.result(ledger, time.monotonic() - began, 2)


def _bad_lines(stage: Stage, first: int) -> dict[int, bytes]:
    """Rejects go by their place alone: no id tells two of them apart."""
    some = [line for line in POISON if line]
    return {first + number: stage.rng.choice(some) for number in stage.rng.sample(range(200), 10)}


def _set_back(stage: Stage) -> None:
    path = stage.home / "log" / "forward.json"
    cursor = json.loads(path.read_bytes())
    for place in cursor["places"].values():
        place |= {"next_sequence": stage.rng.randint(1, 3), "is_done": False}
    path.write_text(json.dumps(cursor), encoding="ascii")


def retention_overrun(stage: Stage) -> Result:
    """A17: Kafka let records go before they landed: a gap names their offsets, and the rest lands."""
    return _overrun(stage)


def retention_in_a_landing(stage: Stage) -> Result:
    """A17: the same, when a landing has just asked where the topic begins: no jump over what is still there."""
    return _overrun(stage, is_midway=True)


LATE = """
    import json, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from kafka import KafkaAdminClient, TopicPartition
    from ingest import from_kafka
    from ingest.land import land
    from warehouse import open_warehouse

    home, bootstrap, topic, cuts = Path(sys.argv[1]), *sys.argv[2:4], json.loads(sys.argv[4])
    seek = from_kafka.KafkaReading._seek

    def late(self):
        if cuts:
            admin = KafkaAdminClient(bootstrap_servers=bootstrap)
            admin.delete_records({TopicPartition(topic, int(part)): cut for part, cut in cuts.items()})
            admin.close()
            cuts.clear()
        seek(self)

    from_kafka.KafkaReading._seek = late
    client = {"bootstrap_servers": [bootstrap], "security_protocol": "PLAINTEXT"}
    warehouse = open_warehouse(home / "warehouse.duckdb")
    land(warehouse, from_kafka.FromKafka(client, topic, home / "log"), clock=lambda: datetime.now(UTC))
    warehouse.close()
"""


def _overrun(stage: Stage, *, is_midway: bool = False) -> Result:
    with _broker(stage) as broker:
        ledger = stage.write_log(2, 8, 25)
        _forwarded(stage, broker)
        stage.run("land", "--from", "kafka")
        ledger.add(stage.write_log(2, 8, 25, first=len(ledger.sent)))
        _forwarded(stage, broker)
        whole = read_topic(broker.bootstrap, stage.topic)
        ends: dict[int, int] = {}
        for record in whole:
            ends[record.part] = max(ends.get(record.part, 0), record.offset + 1)
        cuts = {part: end - stage.rng.randint(1, 20) for part, end in ends.items()}
        began = time.monotonic()
        if is_midway:
            said = stage.script(LATE, str(stage.home), broker.bootstrap, stage.topic, json.dumps(cuts))
            stage.check(not said, f"landing says: {said[-500:]}")
        else:
            with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
                admin.delete_records({TopicPartition(stage.topic, part): cut for part, cut in cuts.items()})
            stage.run("land", "--from", "kafka")
        recovery_s = time.monotonic() - began
        with duckdb.connect(str(stage.warehouse)) as con:
            gaps = con.execute("select part, from_position, to_position, cause from raw.gaps").fetchall()
            landed = {row[0] for row in con.execute("select event_id from raw.events").fetchall()}
        gone = set()
        for record in whole:
            event_id = id_of(record.value or b"")
            if event_id not in landed and record.offset < cuts[record.part]:
                gone.add(str(event_id))
                named = any(
                    gap[0] == str(record.part) and gap[1] <= record.offset < gap[2] and gap[3] == "lost" for gap in gaps
                )
                stage.check(named, f"{record.part}/{record.offset} is missing and not named")
        stage.check(bool(gone), "nothing was gone at all")
        return stage.result(ledger, recovery_s, gone=gone, gap_n=None)


def topic_made_anew(stage: Stage) -> Result:
    """A17: the topic is deleted and made again while the lander is away: noticed, and all of the log lands."""
    with _broker(stage) as broker:
        ledger = stage.write_log(2, 8, 25)
        _forwarded(stage, broker)
        stage.run("land", "--from", "kafka")
        with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            admin.delete_topics([stage.topic])
        ledger.add(stage.write_log(1, 8, 25, first=len(ledger.sent)))
        began = time.monotonic()
        _forwarded(stage, broker)
        stage.run("land", "--from", "kafka")
        recovery_s = time.monotonic() - began
        with duckdb.connect(str(stage.warehouse)) as con:
            noted = con.execute("select count(*) from raw.gaps where cause = 'lost'").fetchall()[0][0]
        stage.check(noted > 0, "nothing says that the topic is another one")
        return stage.result(ledger, recovery_s, gap_n=None)


def more_partitions(stage: Stage) -> Result:
    """A17: the topic gets six partitions instead of three: the new ones land from their start."""
    with _broker(stage) as broker:
        stage.env["FOOTFALL_KAFKA__PARTITIONS"] = "3"
        ledger = stage.write_log(2, 8, 25)
        _forwarded(stage, broker)
        stage.run("land", "--from", "kafka")
        with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            admin.create_partitions({stage.topic: 6})
        ledger.add(stage.write_log(2, 8, 25, first=len(ledger.sent)))
        began = time.monotonic()
        _forwarded(stage, broker)
        parts = {record.part for record in read_topic(broker.bootstrap, stage.topic)}
        stage.check(len(parts) > 3, "nothing is in new parts")
        stage.run("land", "--from", "kafka")
        return stage.result(ledger, time.monotonic() - began)


def poison_in_the_topic(stage: Stage) -> Result:
    """A18: records that are no events, or not ours, among good ones: one reject each, and the neighbours land."""
    with _broker(stage) as broker:
        ledger = stage.write_log(2, 8, 25)
        _forwarded(stage, broker)
        head = [("version", b"1"), ("segment", b"0badc0de-1"), ("index", b"0")]
        with closing(KafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True)) as producer:
            for number, value in enumerate(stage.rng.sample(POISON, 8)):
                if value:
                    producer.send(stage.topic, value, headers=[*head, ("sequence", b"%d" % number)])
                    ledger.poison.append(value)
            for value, headers in ((b"of another version", [("version", b"9")]), (b"of somebody else", [])):
                producer.send(stage.topic, value, headers=headers)
                ledger.poison.append(value)
            producer.flush()
        ledger.add(stage.write_log(1, 8, 25, first=len(ledger.sent)))
        _forwarded(stage, broker, is_ours=False)
        began = time.monotonic()
        stage.run("land", "--from", "kafka", FOOTFALL_LAND__BATCH_EVENTS=str(stage.rng.randint(50, 600)))
        return stage.result(ledger, time.monotonic() - began)


def _forwarded(stage: Stage, broker: Broker, *, is_ours: bool = True) -> None:
    """Run the forwarder until all of the log is acknowledged."""
    forwarder = stage.start("forward")
    _until(lambda: _is_acknowledged(stage))
    stage.check(not is_ours or _is_drained(stage, broker), "what counts as acknowledged is not in the topic")
    stage.end(forwarder)


def _is_acknowledged(stage: Stage) -> bool:
    try:
        cursor = json.loads((stage.home / "log" / "forward.json").read_bytes())
    except OSError:
        return False
    names = {path.stem for path in (stage.home / "log").glob("*.db")}
    return names <= {name for name, place in cursor["places"].items() if place.get("is_done")}


def _landed(stage: Stage, broker: Broker, forwarder: Process, recovery_s: float, injected_n: int = 1) -> Result:
    """Wait until all is acknowledged, end the forwarder, land from Kafka, and let the oracle judge both."""
    _until(lambda: _is_acknowledged(stage))
    stage.end(forwarder)
    ledger = stage.ledger()
    stage.broken += judge_topic(read_topic(broker.bootstrap, stage.topic), chunks(stage.home / "log"))
    stage.run("land", "--from", "kafka")
    return stage.result(ledger, recovery_s, injected_n)


def _is_drained(stage: Stage, broker: Broker) -> bool:
    """Whether each line of the log is in the topic."""
    wanted = {
        (name, number, k) for (name, number), lines in chunks(stage.home / "log").items() for k in range(len(lines))
    }
    return wanted <= {record.place for record in read_topic(broker.bootstrap, stage.topic)}


def _until(what: Callable[[], object]) -> None:
    end = time.monotonic() + DRAIN_SECONDS
    while not what():
        if time.monotonic() > end:
            raise Failed("it did not come to that in time")
        time.sleep(0.2)


def _rss(process: Process) -> int:
    """Resident bytes of a process and its children."""
    pids = [process.pid]
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        pids += map(int, (task / "children").read_text().split())
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") for pid in pids)
