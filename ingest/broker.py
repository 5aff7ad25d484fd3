"""Reaching Kafka: a client or a sentence that says why there is none, and the topic with its settings."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

OLDEST: Final = (2, 1)  # the first that takes zstd
RETENTION_MS: Final = 14 * 24 * 3600 * 1000
BATCH_BYTES: Final = 1 << 20
REPLICAS: Final = 3
TOPIC_SETTINGS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(RETENTION_MS),
    "max.message.bytes": str(BATCH_BYTES),
    # A collector's clock may be ahead of the broker's; Kafka would refuse its records from one hour on.
    "message.timestamp.after.max.ms": str(2**63 - 1),
}


class BrokerError(Exception):
    """Kafka cannot be used now; the message says why and how to mend it."""


@dataclass(frozen=True)
class Topic:
    """A topic as the brokers know it; the id is another one once it was deleted and made anew."""

    name: str
    topic_id: str
    partition_n: int
    is_new: bool = False


def reach(make: Callable[..., Any], client: Mapping[str, Any], *, wait_s: float = 5, **more: Any) -> Any:
    """A client of kafka-python (KafkaProducer, KafkaConsumer, KafkaAdminClient) that has found the brokers.

    `client` is what the settings say of reaching them, `more` goes to the client as it is. Raises BrokerError
    when none was found within `wait_s`. To be called in the process that uses the client: it has threads.
    """
    if _unreachable(client["bootstrap_servers"]):
        raise BrokerError(_why(client, []))
    with _overheard() as said:
        try:
            made = make(**client, **more, bootstrap_timeout_ms=int(wait_s * 1000))
        except (KafkaError, OSError, ValueError) as error:
            raise BrokerError(_why(client, [*said, str(error)])) from error
    return made


def find_topic(client: Mapping[str, Any], name: str, *, wait_s: float = 5) -> Topic | None:
    """The topic, None if there is none. Raises BrokerError when the brokers cannot be asked."""
    with _asking(client, wait_s) as admin:
        return _look(admin, name)


def make_topic(client: Mapping[str, Any], name: str, partitions: int, *, wait_s: float = 5) -> Topic:
    """The topic; made with TOPIC_SETTINGS if there is none. Raises BrokerError when it can neither be."""
    with _asking(client, wait_s) as admin:
        if found := _look(admin, name):
            return found
        broker_n = len(admin.describe_cluster()["brokers"])
        wanted = {
            "num_partitions": partitions,
            "replication_factor": min(REPLICAS, max(1, broker_n)),
            "configs": TOPIC_SETTINGS,
        }
        try:
            admin.create_topics({name: wanted}, timeout_ms=int(wait_s * 1000), wait_for_metadata=True)
        except TopicAlreadyExistsError:
            pass
        except (
            TopicAuthorizationFailedError,
            ClusterAuthorizationFailedError,
            PolicyViolationError,
            InvalidReplicationFactorError,
        ) as error:
            raise BrokerError(
                f"There is no topic {name}, and Kafka does not let this user make it ({_short(error)}). "
                f"Have it made with {partitions} partitions, cleanup.policy=delete and max.message.bytes={BATCH_BYTES}."
            ) from error
        made = _look(admin, name)
        if made is None:
            raise BrokerError(f"Kafka has made the topic {name}, but does not show it yet.")
        return Topic(made.name, made.topic_id, made.partition_n, is_new=True)


def check(client: Mapping[str, Any], name: str) -> str:
    """What Kafka says of itself and the topic, in one sentence. Raises BrokerError with what is wrong."""
    with _asking(client, 5) as admin:
        version = tuple(admin._manager.broker_version)
        topic = _look(admin, name)
        broker_n = len(admin.describe_cluster()["brokers"])
    if topic is None:
        raise BrokerError(f"There is no topic {name} yet. footfall forward makes it.")
    return f"{broker_n} broker(s), Kafka {'.'.join(map(str, version))}; topic {name}: {topic.partition_n} partitions"


def refuse_old(version: tuple[int, ...]) -> None:
    """Raises BrokerError for a Kafka that is too old."""
    if version < OLDEST:
        raise BrokerError(
            f"The brokers are Kafka {'.'.join(map(str, version))}; footfall needs "
            f"{'.'.join(map(str, OLDEST))} or later. Upgrade them."
        )


@contextmanager
def _asking(client: Mapping[str, Any], wait_s: float) -> Iterator[Any]:
    admin = reach(KafkaAdminClient, client, wait_s=wait_s, request_timeout_ms=int(wait_s * 1000))
    with closing(admin), _overheard():
        refuse_old(tuple(admin._manager.broker_version))
        try:
            yield admin
        except KafkaError as error:
            raise BrokerError(f"Kafka does not answer as it should ({_short(error)}). It is tried again.") from error


def _look(admin: Any, name: str) -> Topic | None:
    (found,) = admin.describe_topics([name])
    error = for_code(found["error_code"])
    if error.__name__ == "UnknownTopicOrPartitionError":
        return None
    if issubclass(error, TopicAuthorizationFailedError):
        raise BrokerError(f"Kafka does not let this user see the topic {name}. Allow it to describe, read and write.")
    if found["error_code"]:
        raise error
    return Topic(name, str(found["topic_id"]), len(found["partitions"]))


def _short(error: BaseException) -> str:
    """A KafkaError without the requests that it repeats."""
    text = str(error)
    told = re.search(r"error_message=(['\"])(.+?)\1, ", text)
    return f"{type(error).__name__}: {told[2]}" if told else text.partition(": Request '")[0][:200]


def _why(client: Mapping[str, Any], said: list[str]) -> str:
    """One sentence from what the client said while it tried."""
    where = ", ".join(client["bootstrap_servers"])
    protocol, text = client["security_protocol"], " ".join(said)
    if trouble := _unreachable(client["bootstrap_servers"]):
        return f"No Kafka broker answers at {where} ({trouble}). Start it, or correct bootstrap in [kafka]."
    if told := re.search(r"certificate verify failed: (.+?)\.? \(", text):
        return (
            f"The certificate of the broker at {where} is not good ({told[1]}). "
            "Correct cafile in [kafka.security], or the broker's name in bootstrap."
        )
    if re.search("ALERT_.*(CERTIFICATE|UNKNOWN_CA)", text):
        does = (
            "refuses this client's certificate" if client["ssl_certfile"] else "asks for a certificate of this client"
        )
        return f"The broker at {where} {does}. Correct certfile and keyfile in [kafka.security]."
    if re.search(r"PEM lib|\[X509: |KEY_VALUES_MISMATCH", text):
        return "The files do not hold what they should. Correct cafile, certfile and keyfile in [kafka.security]."
    if "UnsupportedSaslMechanism" in text:
        return f"The broker at {where} does not take {client['sasl_mechanism']}. Correct mechanism in [kafka.security]."
    if "IllegalSaslState" in text:
        return f"The broker at {where} asks for no password on this port. Correct protocol in [kafka.security]."
    if "Handshake failed" in text or "WRONG_VERSION_NUMBER" in text:
        return f"The broker at {where} speaks no TLS on this port. Correct protocol in [kafka.security]."
    # It hangs up on a wrong password only once it has said of which version it is.
    is_known = "broker_version=(" in text
    if "SaslAuthenticationFailed" in text or (
        protocol.startswith("SASL") and "socket disconnected" in text and is_known
    ):
        return (
            f"The broker at {where} refuses the user {client['sasl_plain_username']}. "
            "Correct username, password and mechanism in [kafka.security]."
        )
    if "socket disconnected" in text:
        return (
            f"The broker at {where} hangs up on {protocol}: this port wants another protocol. "
            "Correct protocol in [kafka.security], or the port in bootstrap."
        )
    return f"The broker at {where} takes the connection but does not answer: it starts, hangs, or is no Kafka."


def _unreachable(addresses: list[str]) -> str | None:
    """Why none of the addresses takes a connection; None when one does."""
    trouble = None
    for each in addresses:
        host, _, port = each.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
                return None
        except OSError as error:
            trouble = error.strerror or str(error)
    return trouble


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What kafka-python logs in the block, which is where it says why; nobody else gets it meanwhile."""
    logger = logging.getLogger("kafka")
    ear, before = _Ear(), logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield ear.said
    finally:
        logger.propagate = before
        logger.removeHandler(ear)
