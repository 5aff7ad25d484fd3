"""Where a fault is played: a home, footfall's processes on it, and the tree that they run from."""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import crc32c
import zstandard

from faults import power
from faults.brokers import Brokers
from faults.load import NAMES, hash_of
from faults.oracle import Ledger, Verdict, chunks, judge, judge_topic, read_ledger, read_topic
from faults.tree import Fork, Tree

HERE = Path(__file__).parents[1]
Process = subprocess.Popen[bytes] | Fork
Started = TypeVar("Started", subprocess.Popen[bytes], Fork)
READY_SECONDS = 60
SERVERS = {"collect", "forward"}


@dataclass(frozen=True)
class Result:
    """What one fault did to one seed's events; `broken` are sentences, empty when every promise held."""

    sent_n: int
    acked_n: int
    lost_n: int
    doubled_n: int
    recovery_s: float
    broken: tuple[str, ...] = ()
    injected_n: int = 1

    @property
    def is_good(self) -> bool:
        return not (self.lost_n or self.doubled_n or self.broken)


class Failed(Exception):
    """A command of footfall did not do what the fault's script needs."""


@dataclass
class Stage:
    """One seed of one fault. `folder` is empty and its own; `tree` is the one whose footfall runs."""

    folder: Path
    seed: int
    tree: Tree
    brokers: Brokers
    env: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    @cached_property
    def rng(self) -> random.Random:
        return random.Random(self.seed)

    @cached_property
    def port(self) -> int:
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            return int(trial.getsockname()[1])

    @cached_property
    def topic(self) -> str:
        """Seeds share brokers, but no topic."""
        return f"footfall.{secrets.token_hex(6)}"

    @cached_property
    def home(self) -> Path:
        home = self.folder / "home"
        (home / "log").mkdir(parents=True)
        (home / "secret.key").write_text(hashlib.sha256(b"faults").hexdigest() + "\n", encoding="ascii")
        (home / "secret.key").chmod(0o600)
        (home / "footfall.toml").write_text(
            '[[source]]\nname = "web"\nwrite_key = "pk_demo"\norigins = ["*"]\n', encoding="ascii"
        )
        return home

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def wal(self) -> Path:
        return self.home / "warehouse.duckdb.wal"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def power(self) -> power.Power:
        return power.Power(self.tree.library, self.home, self.folder / "notes")

    # --- footfall's commands ------------------------------------------------------------------------------

    def start(self, *command: str, **env: str) -> Process:
        """A command of footfall in a process group of its own; what it says goes to <command>.txt."""
        said = self.folder / f"{command[0]}.txt"
        words = [*command, "--home", str(self.home)]
        if command[0] not in SERVERS:
            return self._started(self.tree.start(words, said, {**self.env, **env}))
        with said.open("ab") as out:
            return self._started(
                subprocess.Popen(
                    [sys.executable, "-m", "footfall", *words],
                    cwd=self.tree.root,
                    env={**self.tree.environment, **self.env, **env},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def script(self, text: str, *words: str, seconds: float = 60) -> str:
        """What a Python script said that uses the tree's modules."""
        said = self.folder / "script.txt"
        self._started(self.tree.start(["-c", textwrap.dedent(text), *words], said, self.env)).wait(seconds)
        return said.read_text()

    def _started(self, process: Started) -> Started:
        self.processes.append(process)
        return process

    def run(self, *command: str, is_to_fail: bool = False, seconds: float = 60, **env: str) -> str:
        """What the command said, once it ended; raises Failed if it ended otherwise than it should."""
        path = self.folder / f"{command[0]}.txt"
        before = path.stat().st_size if path.exists() else 0
        code = self.start(*command, **env).wait(seconds)
        said = path.read_bytes()[before:].decode()
        if (code != 0) != is_to_fail or "Traceback" in said or "bug in footfall" in said:
            raise Failed(f"footfall {' '.join(command)} ended with {code}: {said.strip()[-2000:]}")
        return said

    def collect(self, **env: str) -> tuple[Process, float]:
        """A collector that is ready, and the seconds that this took."""
        began = time.monotonic()
        process = self.start("collect", "--port", str(self.port), **env)
        while time.monotonic() - began < READY_SECONDS:
            if process.poll() is not None:
                raise Failed(f"the collector ended with {process.returncode}: {self.said('collect')[-2000:]}")
            try:
                with urlopen(f"{self.url}/ready", timeout=2):
                    return process, time.monotonic() - began
            except (URLError, OSError):
                time.sleep(0.02)
        raise Failed("the collector was not ready in time")

    def said(self, command: str) -> str:
        path = self.folder / f"{command}.txt"
        return path.read_text() if path.exists() else ""

    def load(self, *options: str) -> subprocess.Popen[bytes]:
        """The load, started; its ledger is read with `ledger`."""
        script = HERE / "faults" / "load.py"
        command = [sys.executable, str(script), self.url, str(self.folder / "ledger"), "--seed", str(self.seed)]
        return self._started(subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, start_new_session=True))

    def ledger(self) -> Ledger:
        return read_ledger(self.folder / "ledger")

    def kill(self, process: Process) -> None:
        """kill -9 of the whole group."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self, process: Process) -> None:
        """SIGTERM, and the end awaited."""
        process.terminate()
        if process.wait(30) != 0:
            self.broken.append(f"a process ended with {process.returncode} after SIGTERM")

    def close(self) -> None:
        """End whatever a fault left running."""
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)

    # --- the result ---------------------------------------------------------------------------------------

    def check(self, holds: bool, sentence: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.broken.append(sentence)

    def result(self, ledger: Ledger, recovery_s: float, injected_n: int = 1, **judging: Any) -> Result:
        """The oracle's word on the home, with what the fault noted itself."""
        verdict: Verdict = judge(self.warehouse, ledger, **judging)
        return Result(
            len(ledger.sent),
            len(ledger.acked),
            len(verdict.lost),
            len(verdict.doubled),
            recovery_s,
            (*self.broken, *verdict.broken),
            injected_n,
        )

    def topic_result(self, bootstrap: str, topic: str, recovery_s: float) -> Result:
        """The oracle's word on a topic that should hold all of the log."""
        held = chunks(self.home / "log")
        records = read_topic(bootstrap, topic)
        self.broken += judge_topic(records, held)
        line_n = sum(map(len, held.values()))
        lost_n = line_n - len({record.place for record in records})
        return Result(line_n, line_n, lost_n, 0, recovery_s, tuple(self.broken))

    # --- a log without a collector ------------------------------------------------------------------------

    def write_log(
        self, segment_n: int, chunk_n: int, line_n: int, *, first: int = 0, bad: dict[int, bytes] | None = None
    ) -> Ledger:
        """Closed segments written by SQLite alone, and the ledger as if each line had been acknowledged.

        The lines are numbered from `first`.
        `bad` puts other bytes in place of the lines of these numbers: each must become one reject.
        """
        ledger, number = Ledger(), first
        packer = zstandard.ZstdCompressor(level=1)
        # Of today: a log that has landed and is older than `log.keep` would be let go.
        began = datetime.now(UTC) - timedelta(hours=1)
        for k in range(segment_n):
            at = began + timedelta(seconds=first + k)
            path = self.home / "log" / f"{self.rng.randrange(2**32):08x}-{int(at.timestamp() * 1000)}.db"
            with closing(sqlite3.connect(path)) as con:
                con.execute(
                    "create table chunks (sequence integer primary key, first_received_at text not null, "
                    "last_received_at text not null, event_n integer not null, crc32c integer not null, "
                    "body blob not null)"
                )
                con.execute("pragma journal_mode = wal")
                for sequence in range(1, chunk_n + 1):
                    lines = []
                    for _ in range(line_n):
                        if bad and number in bad:
                            lines.append(bad[number])
                            ledger.poison.append(bad[number])
                        else:
                            lines.append(self._line(ledger, number, at))
                        number += 1
                    body = packer.compress(b"\n".join(lines) + b"\n")
                    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                    con.execute(
                        "insert into chunks values (?, ?, ?, ?, ?, ?)",
                        (sequence, stamp, stamp, line_n, crc32c.crc32c(body), body),
                    )
                con.commit()
        return ledger

    def _line(self, ledger: Ledger, number: int, at: datetime) -> bytes:
        event_id = f"s{self.seed}-{number}"
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        name, visitor = self.rng.choice(NAMES), f"visitor-{number % 50}"
        properties = {"n": number, "text": self.rng.randbytes(20).hex()}
        hashed = hash_of(name, visitor, stamp, properties)
        ledger.sent[event_id] = [hashed]
        ledger.first[event_id] = {hashed}
        ledger.acked.add(event_id)
        event = {
            "event_id": event_id,
            "source": "web",
            "protocol": "segment",
            "ingest": "live",
            "type": "track",
            "name": name,
            "anonymous_id": visitor,
            "id_kind": "local",
            "occurred_at": stamp,
            "received_at": stamp,
            "properties": properties,
            "traits": {},
            "context": {},
        }
        return json.dumps(event).encode()
