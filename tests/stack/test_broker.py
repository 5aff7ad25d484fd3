"""The broker of the tests does what the tests do to it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from stack import broker as kafka


@pytest.fixture
def own(tmp_path: Path) -> Iterator[kafka.Broker]:
    if lack := kafka.missing():
        pytest.skip(lack)
    with kafka.Broker(tmp_path / "own") as one:
        yield one


def ends(broker: kafka.Broker, topic: str) -> int:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    try:
        part = TopicPartition(topic, 0)
        return int(consumer.end_offsets([part])[part])
    finally:
        consumer.close()


def test_a_killed_broker_comes_back_with_its_records_and_ports(own: kafka.Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=own.bootstrap)
    admin.create_topics([NewTopic("once", 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=own.bootstrap)
    producer.send("once", b"kept").get(20)
    producer.close()
    port, pid = own.port, own.pid
    own.kill()
    assert own.pid is None
    own.start()
    assert (own.port, ends(own, "once")) == (port, 1)
    assert own.pid != pid
    own.stop()
    again = kafka.Broker(own.folder)
    assert again.ports == own.ports


def test_a_paused_broker_answers_nobody_until_it_is_resumed(broker: kafka.Broker) -> None:
    assert broker.pid
    broker.pause()
    try:
        for _ in range(100):
            if Path(f"/proc/{broker.pid}/stat").read_text().split()[2] == "T":
                break
            time.sleep(0.01)
        else:
            pytest.fail("the broker was not stopped")
    finally:
        broker.resume()
    os.kill(broker.pid, 0)
    KafkaAdminClient(bootstrap_servers=broker.bootstrap).close()


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(kafka.BrokerError, match="needs Java"):
        kafka.Broker(tmp_path / "own")
