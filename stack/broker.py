"""One Kafka broker of its own, for trying and for the tests: KRaft, one node, nothing but Java and a folder."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

from ingest.collector import end_with_parent
from stack.ports import free_ports

JARS = Path(__file__).parents[1] / ".kafka"
STARTED = b"Kafka Server started"
USER, PASSWORD = "footfall", "let-me-in"  # of the listener that asks for them
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=\
CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={scram}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
TLS = """\
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.ssl.ssl.client.auth=required
"""


class BrokerError(Exception):
    """The broker cannot run; the message says why and how to mend it."""


class Broker:
    """A broker whose data, settings and output live in `folder`; it stands still until `start`.

    `ports` are free ones of 127.0.0.1, by protocol: PLAINTEXT takes whoever comes, SASL_PLAINTEXT asks for USER
    and PASSWORD (SCRAM-SHA-512). With `certificates`, a folder with broker.pem (its key and certificate, not
    encrypted) and ca.pem, SASL_SSL asks for the same over TLS, and SSL for a certificate that ca.pem vouches for.
    A folder that held a broker is gone on with, on the ports it had. Ends with the process that started it,
    however that ends. Also a context manager.
    """

    def __init__(self, folder: Path, *, certificates: Path | None = None, memory_mb: int = 512) -> None:
        self.folder = folder
        self._memory_mb = memory_mb
        self._settings = folder / "server.properties"
        self._said = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        if self._settings.exists():
            self.ports = _ports(self._settings)
        else:
            protocols = ("PLAINTEXT", "SASL_PLAINTEXT", *(("SSL", "SASL_SSL") if certificates else ()))
            *free, controller = free_ports(len(protocols) + 1)
            self.ports = dict(zip(protocols, free, strict=True))
            self._format(controller, certificates)

    @property
    def port(self) -> int:
        """The port that takes whoever comes."""
        return self.ports["PLAINTEXT"]

    @property
    def bootstrap(self) -> str:
        """host:port of the open listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process number while it runs, or stands paused."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, *, wait_s: float = 120) -> None:
        """Start, and return when it takes clients. Raises BrokerError with the end of what it said."""
        if self.pid:
            return
        before = self._said.stat().st_size if self._said.exists() else 0
        with self._said.open("ab") as out:
            self._process = subprocess.Popen(
                _java(f"-Xmx{self._memory_mb}m", "kafka.Kafka", str(self._settings)),
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C is for who started it, who then stops it
                preexec_fn=end_with_parent,
            )
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            with self._said.open("rb") as file:
                file.seek(before)
                said = file.read()
            if STARTED in said:
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise BrokerError(f"The broker did not start; {self._said} ends with: {_last_line(said)}")

    def stop(self) -> None:
        """End it in order; by force where it does not end within 20 s."""
        if self._process and self.pid:
            self.resume()
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9. `start` brings it back on the same folder and ports."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open, and nothing is answered."""
        if self.pid:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self.pid:
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _format(self, controller: int, certificates: Path | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        listeners = ",".join(f"{protocol}://127.0.0.1:{port}" for protocol, port in self.ports.items())
        data = self.folder.absolute() / "data"
        settings = SETTINGS.format(listeners=listeners, controller=controller, scram=SCRAM, data=data)
        if certificates:
            settings += TLS.format(folder=certificates.absolute())
        # Under its final name only once the data's folder is whole: the name says that there is a broker.
        new = self._settings.with_suffix(".new")
        new.write_text(settings, encoding="utf-8")
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        done = subprocess.run(
            _java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(new), "--add-scram", user),
            capture_output=True,
        )
        if done.returncode:
            raise BrokerError(f"Kafka cannot prepare {self.folder}: {_last_line(done.stderr + done.stdout)}")
        new.rename(self._settings)


def missing() -> str | None:
    """A sentence that says what this machine lacks for a broker, and what brings it; None if it lacks nothing."""
    if not shutil.which("java"):
        return "The broker needs Java 17 or later: apt-get install default-jre-headless"
    if not any(JARS.glob("kafka_*.jar")):
        return "The broker's jars are not here: make kafka (it needs Maven: apt-get install maven)"
    return None


def _java(*values: str) -> list[str]:
    if lack := missing():
        raise BrokerError(lack)
    # The second compiler costs a third of the start, and competes for the cores with what is tried out.
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", *values]


def _ports(settings: Path) -> dict[str, int]:
    lines = dict(line.split("=", 1) for line in settings.read_text(encoding="utf-8").splitlines() if "=" in line)
    listeners = (each.split("://127.0.0.1:") for each in lines["advertised.listeners"].split(","))
    return {protocol: int(port) for protocol, port in listeners}


def _last_line(said: bytes) -> str:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()] or ["nothing"]
    return next((line for line in reversed(lines) if "ERROR" in line or "Exception" in line), lines[-1])
