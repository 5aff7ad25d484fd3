"""Whatever keeps a client from Kafka is one sentence that says how to mend it."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from kafka import KafkaAdminClient

from ingest.broker import BrokerError, check, find_topic, reach, refuse_old
from stack.broker import PASSWORD, USER, Broker

LOGIN = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_plain_username": USER,
    "sasl_plain_password": PASSWORD,
}


def client(port: int, **more: Any) -> dict[str, Any]:
    keys = ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password", "ssl_cafile", "ssl_certfile", "ssl_keyfile")
    address = {"bootstrap_servers": [f"127.0.0.1:{port}"], "security_protocol": "PLAINTEXT"}
    return address | dict.fromkeys(keys) | more


def complaint(given: dict[str, Any]) -> str:
    with pytest.raises(BrokerError) as caught:
        reach(KafkaAdminClient, given, wait_s=3)
    said = str(caught.value)
    assert re.fullmatch(r"[^\n]+\.", said)
    assert "s3cret" not in said
    assert PASSWORD not in said
    return said


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = complaint(client(taken.getsockname()[1]))
    assert "(Connection refused). Start it, or correct bootstrap in [kafka]." in said


def test_somebody_else_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "does not answer" in complaint(client(other.getsockname()[1]))


@pytest.mark.parametrize(
    ("is_asking", "given", "sentence"),
    [
        (True, LOGIN | {"sasl_plain_password": "s3cret"}, f"refuses the user {USER}. Correct username, password"),
        (True, LOGIN | {"sasl_plain_username": "nobody"}, "refuses the user nobody. Correct username, password"),
        (True, {}, "hangs up on PLAINTEXT: this port wants another protocol."),
        (False, LOGIN, "asks for no password on this port. Correct protocol in [kafka.security]."),
        (False, {"security_protocol": "SSL"}, "speaks no TLS on this port. Correct protocol in [kafka.security]."),
    ],
)
def test_the_wrong_way_in(broker: Broker, is_asking: bool, given: dict[str, Any], sentence: str) -> None:
    assert sentence in complaint(client(broker.sasl_port if is_asking else broker.port, **given))


def test_a_check_says_what_is_there_and_what_is_missing(broker: Broker) -> None:
    given = client(broker.sasl_port, **LOGIN)
    assert find_topic(given, "nobody-made-this") is None
    with pytest.raises(BrokerError, match=r"There is no topic nobody-made-this yet\. footfall forward makes it."):
        check(given, "nobody-made-this")


def test_whoever_asks_an_old_kafka_is_told(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.broker.OLDEST", (99, 0))
    for ask in (find_topic, check):
        with pytest.raises(BrokerError, match=r"footfall needs 99\.0 or later\. Upgrade them\."):
            ask(client(broker.port), "any")


def test_an_old_kafka_is_refused() -> None:
    refuse_old((4, 3))
    with pytest.raises(BrokerError, match=r"The brokers are Kafka 1\.1; footfall needs 2\.1 or later\. Upgrade them\."):
        refuse_old((1, 1))
