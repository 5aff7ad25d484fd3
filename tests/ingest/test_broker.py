"""Whatever keeps a client from Kafka is one sentence that says how to mend it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

import config
from ingest import log
from ingest.broker import BrokerError, check, find_topic, make_topic, reach, refuse_old
from ingest.cursor import load_cursor
from stack.broker import PASSWORD, USER, Broker
from tests.ingest.test_forward import until
from tests.ingest.test_land import START, event

ROOT = Path(__file__).parents[2]
FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
LOGIN = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_plain_username": USER,
    "sasl_plain_password": PASSWORD,
}


def client(port: int, **more: Any) -> dict[str, Any]:
    keys = ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password", *FILES)
    address = {"bootstrap_servers": [f"127.0.0.1:{port}"], "security_protocol": "PLAINTEXT"}
    return address | dict.fromkeys(keys) | more


def complaint(given: dict[str, Any], sentence: str = "") -> str:
    """What keeps the client away; a broker of a busy machine is given longer to come to `sentence`."""
    for wait_s in (1, 10):
        with pytest.raises(BrokerError) as caught:
            reach(KafkaAdminClient, given, wait_s=wait_s)
        said = str(caught.value)
        if sentence in said:
            break
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
    port = broker.ports["SASL_PLAINTEXT"] if is_asking else broker.port
    assert sentence in complaint(client(port, **given), sentence)


@pytest.mark.parametrize(
    ("protocol", "given", "sentence"),
    [
        (
            "SASL_SSL",
            {"ssl_cafile": "other.pem"},
            "is not good (unable to get local issuer certificate). Correct cafile",
        ),
        ("SASL_SSL", {"bootstrap_servers": ["localhost:PORT"]}, "not valid for 'localhost'). Correct cafile"),
        ("SASL_SSL", {"sasl_plain_password": "s3cret"}, f"refuses the user {USER}. Correct username, password"),
        ("SASL_SSL", {"security_protocol": "SSL"}, "hangs up on SSL: this port wants another protocol."),
        ("SASL_SSL", {"security_protocol": "SASL_PLAINTEXT"}, "hangs up on SASL_PLAINTEXT: this port wants another"),
        ("SSL", {}, "asks for a certificate of this client. Correct certfile and keyfile in [kafka.security]."),
        ("SSL", {"ssl_certfile": "other.pem", "ssl_keyfile": "other.key"}, "refuses this client's certificate."),
        ("SSL", {"ssl_certfile": "client.pem", "ssl_keyfile": "ca.key"}, "Correct cafile, certfile and keyfile"),
    ],
)
def test_the_wrong_way_in_over_tls(
    broker: Broker, certificates: Path, protocol: str, given: dict[str, Any], sentence: str
) -> None:
    port = broker.ports[protocol]
    login = LOGIN if protocol == "SASL_SSL" else {}
    way = client(port, **{**login, "security_protocol": protocol, "ssl_cafile": "ca.pem", **given})
    way["bootstrap_servers"] = [each.replace("PORT", str(port)) for each in way["bootstrap_servers"]]
    way |= {key: str(certificates / way[key]) for key in FILES if way[key]}
    assert sentence in complaint(way, sentence)


SETTINGS = """\
[[source]]
name = "web"
[kafka]
bootstrap = ["127.0.0.1:{port}"]
topic = "over-tls"
[kafka.security]
cafile = "ca.pem"
protocol = """


def test_a_password_over_tls_lets_forward_and_land_in(broker: Broker, certificates: Path, tmp_path: Path) -> None:
    way = f'"SASL_SSL"\nmechanism = "SCRAM-SHA-512"\nusername = "{USER}"\npassword_file = "kafka.password"\n'
    settings = SETTINGS.format(port=broker.ports["SASL_SSL"]) + way
    (tmp_path / "footfall.toml").write_text(settings)
    shutil.copy(certificates / "ca.pem", tmp_path)
    password = tmp_path / "kafka.password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    writer = log.Writer(tmp_path / "log", clock=lambda: START)
    writer.append([event("e1"), event("e2")], START, START)
    writer.close()
    forwarder = start("forward", tmp_path)
    try:
        until(
            lambda: any(each.next_sequence > 1 for each in load_cursor(tmp_path / "log", "over-tls")[0].places.values())
        )
    finally:
        forwarder.terminate()
        said, _ = forwarder.communicate(timeout=20)
    assert said.splitlines()[-1] == "Ended: 2 events sent."
    said, _ = start("land", tmp_path).communicate(timeout=60)
    assert "Landed 2 events: 2 new, 0 repeated, 0 rejected" in said
    password.write_text("s3cret")
    landing = start("land", tmp_path)
    said, _ = landing.communicate(timeout=60)
    assert (landing.returncode, said.count("\n")) == (1, 1)
    assert f"refuses the user {USER}. Correct username, password and mechanism in [kafka.security]" in said


def test_a_certificate_of_its_own_lets_a_client_in(broker: Broker, certificates: Path) -> None:
    way = '"SSL"\ncertfile = "client.pem"\nkeyfile = "client.key"\n'
    settings = config.read(SETTINGS.format(port=broker.ports["SSL"]) + way, {})
    assert settings.kafka
    assert make_topic(settings.kafka.client(certificates), "by-certificate", 2).partition_n == 2


def start(command: str, home: Path) -> subprocess.Popen[str]:
    """A command of footfall as typed."""
    words = [sys.executable, "-W", "ignore", "footfall.py", command, "--home", str(home)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_check_says_what_is_there_and_what_is_missing(broker: Broker) -> None:
    given = client(broker.ports["SASL_PLAINTEXT"], **LOGIN)
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
