"""The collector as clients meet it: a real server, real kills, a full disk, hostile requests."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest.collector import CollectorError, Limits, check_port, serve
from ingest.log import segments
from ingest.protocols.request import Source

ROOT = Path(__file__).parents[2]
SHOP = "https://shop.example"
SOURCES = [
    Source("web", "pk_demo", secret_key="sk_demo", origins=(SHOP,)),
    Source("app", "pk_app", origins=("https://app.example",), id_storage="none"),
]
RUN = """
import sys, json
from datetime import datetime, UTC
from pathlib import Path
import msgspec
from ingest.collector import serve, Limits, Source
log, port, workers, sources, limits, more = sys.argv[1:]
sources, limits = msgspec.json.decode(sources, type=list[Source]), msgspec.json.decode(limits, type=Limits)
serve(Path(log), sources, clock=lambda: datetime.now(UTC), port=int(port), workers=int(workers),
      limits=limits, **json.loads(more))
print("ended well", flush=True)
"""


@dataclass
class Server:
    """A collector in its own process group."""

    home: Path
    workers: int = 1
    sources: list[Source] = field(default_factory=lambda: SOURCES)
    limits: Limits = field(default_factory=Limits)
    more: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[str] | None = None
    printed: str = ""

    @property
    def log(self) -> Path:
        return self.home / "log"

    def start(self) -> Server:
        self.port = self.port or free_port()
        arguments = [str(self.log), str(self.port), str(self.workers)]
        arguments += [msgspec.json.encode(part).decode() for part in (self.sources, self.limits, self.more)]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUN, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.get("/health").status == 200:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the collector did not start: {self.output()}")

    def kill(self) -> None:
        """kill -9 of the whole process group."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.output()

    def output(self) -> str:
        """What it has printed, when it has ended."""
        if self.process:
            self.printed += self.process.communicate()[0]
            self.process = None
        return self.printed

    def worker_pids(self) -> list[int]:
        assert self.process
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | str | None) or hasattr(body, "__next__") else json.dumps(body)
        try:
            connection.request(method, path, data, named, encode_chunked=hasattr(body, "__next__"))
            got = connection.getresponse()
            return Reply(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, **headers)

    def track(self, event_id: str = "m1", key: str = "pk_demo", **headers: str) -> Reply:
        item = {"event": "A", "messageId": event_id, "anonymousId": "a"}
        return self.send("POST", "/v1/track", item, X_Write_Key=key, **headers)

    def raw(self, data: bytes, *, wait: float = 5) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(data)
            got = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while piece := connection.recv(65536):
                    got += piece
            return got

    def counts(self) -> dict[str, int]:
        """fate:reason → count, over all sources and protocols."""
        found: dict[str, int] = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith("footfall_events_total{"):
                labels, _, n = line.partition("{")[2].partition("} ")
                named = dict(part.split("=") for part in labels.replace('"', "").split(","))
                key = f"{named['fate']}:{named['reason']}"
                found[key] = found.get(key, 0) + int(n)
        return found


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lines_of(log: Path) -> list[dict[str, Any]]:
    chunks = [chunk for segment in segments(log) for chunk in segment.chunks(after=0)]
    assert not [chunk.damage for chunk in chunks if chunk.damage]
    return [json.loads(line) for chunk in chunks for line in chunk.lines]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Not yet started; ended by force after the test."""
    it = Server(tmp_path)
    yield it
    it.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not harm it."""
    more = {"trusted_proxies": ["127.0.0.1/32"], "segment_seconds": 600}
    limits = Limits(request_bytes=1_000_000, body_seconds=1, header_seconds=1)
    it = Server(tmp_path_factory.mktemp("home"), workers=2, more=more, limits=limits).start()
    yield it
    it.kill()


# --- the promise ------------------------------------------------------------------------------------------


def test_a_2xx_is_on_disk_and_read_back(server: Server) -> None:
    server.start()
    assert server.track("m1").json == {"success": True}
    [line] = lines_of(server.log)
    assert (line["event_id"], line["source"], line["type"]) == ("m1", "web", "track")
    now = datetime.now(UTC)
    assert abs((datetime.fromisoformat(line["received_at"]) - now).total_seconds()) < 60
    assert server.counts()["stored:"] == 1


def burst(port: int, ledger: Path, worker: int) -> None:
    """A client in a process of its own: before each send the id, after it the status, in its own file."""
    with ledger.open("w", buffering=1) as book:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            for n in range(100_000):
                ids = [f"w{worker}-{n}-{i}" for i in range(3)]
                batch = {"batch": [{"type": "track", "event": "A", "messageId": i} for i in ids]}
                book.write(f"send {' '.join(ids)}\n")
                connection.request("POST", "/v1/batch", json.dumps(batch), {"X-Write-Key": "pk_demo"})
                answer = connection.getresponse()
                answer.read()
                book.write(f"{answer.status} {' '.join(ids)}\n")
        except (OSError, http.client.HTTPException):
            book.write("end of the line\n")


def test_kill_9_in_a_burst_loses_nothing_that_was_answered(server: Server, tmp_path: Path) -> None:
    server.workers = 2
    context = multiprocessing.get_context("spawn")
    ledgers = []
    for turn in range(3):
        server.start()
        books = [tmp_path / f"ledger-{turn}-{n}" for n in range(2)]
        clients = [
            context.Process(target=burst, args=(server.port, book, turn * 10 + n)) for n, book in enumerate(books)
        ]
        for client in clients:
            client.start()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and sum(b.stat().st_size for b in books if b.exists()) < 15_000:
            time.sleep(0.05)
        server.kill()
        for client in clients:
            client.join(10)
            assert client.exitcode == 0
        ledgers += books
    entries = [line.split() for book in ledgers for line in book.read_text().splitlines()]
    sent = {i for entry in entries if entry[0] == "send" for i in entry[1:]}
    answered = [i for entry in entries if entry[0] == "200" for i in entry[1:]]
    kept = [line["event_id"] for line in lines_of(server.log)]
    assert len(answered) > 300
    assert len(kept) == len(set(kept))
    assert set(answered) <= set(kept) <= sent


def test_a_full_disk_is_503_before_any_promise_and_heals_by_itself(server: Server) -> None:
    server.start()
    assert server.track("before").status == 200
    [worker] = server.worker_pids()
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    refused = server.track("during", Origin=SHOP)
    assert (refused.status, refused.json["code"]) == (503, "log_full")
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["access-control-allow-origin"] == SHOP
    assert server.get("/ready").status == 503
    assert server.get("/health").status == 200
    resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
    assert server.track("after").status == 200
    assert server.get("/ready").status == 200
    assert [line["event_id"] for line in lines_of(server.log)] == ["before", "after"]
    assert server.counts() == {"stored:": 2, "refused:log_full": 1}


def test_sigterm_ends_well_and_keeps_all_it_answered(server: Server) -> None:
    server.workers = 2
    server.start()
    answered: list[str] = []
    stop = threading.Event()

    def client(name: str) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                status = server.track(f"{name}-{n}").status
            except (OSError, http.client.HTTPException):
                continue
            assert status == 200
            answered.append(f"{name}-{n}")

    threads = [threading.Thread(target=client, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert server.process
    server.process.terminate()
    assert server.process.wait(timeout=15) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert server.output() == "ended well\n"
    assert answered
    assert set(answered) <= {line["event_id"] for line in lines_of(server.log)}
    assert all(segment.is_closed() for segment in segments(server.log))


def test_requests_in_flight_at_sigterm_are_answered_while_segments_change(server: Server) -> None:
    server.workers, server.more = 2, {"segment_bytes": 1}
    server.start()
    for n in range(20):
        assert server.track(f"before-{n}").status == 200
    waiting = []
    for n in range(20):
        item = {"event": "A", "messageId": f"flying-{n}", "anonymousId": "a", "properties": {"text": "x" * 500}}
        body = json.dumps(item).encode()
        head = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nX-Write-Key: pk_demo\r\nContent-Type: application/json\r\n"
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=15)
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:30])
        waiting.append((connection, body[30:]))
    time.sleep(0.5)  # by then the workers have begun to read them
    assert server.process
    server.process.terminate()
    time.sleep(0.5)
    with pytest.raises(OSError, match="refused"):
        server.track("late")
    for connection, rest in waiting:
        connection.sendall(rest)
    for connection, _ in waiting:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()
    assert server.process.wait(timeout=15) == 0
    found = {line["event_id"] for line in lines_of(server.log)}
    assert found == {f"{kind}-{n}" for kind in ("before", "flying") for n in range(20)}
    assert len(segments(server.log)) > 4
    assert all(segment.is_closed() for segment in segments(server.log))


# --- processes and the port -------------------------------------------------------------------------------


def test_two_workers_answer_and_either_knows_the_sum(server: Server) -> None:
    server.workers = 2
    server.start()
    for n in range(60):
        assert server.track(f"m{n}").status == 200
    assert {server.counts()["stored:"] for _ in range(10)} == {60}
    assert len({segment.name.partition("-")[0] for segment in segments(server.log)}) == 2
    assert len(lines_of(server.log)) == 60


def test_a_killed_worker_comes_back_and_its_counts_stay(server: Server) -> None:
    server.start()
    assert server.track("m1").status == 200
    [worker] = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 10
    status = 0
    while status != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
        with contextlib.suppress(OSError, http.client.HTTPException):
            status = server.track("m2").status
    assert status == 200
    assert {line["event_id"] for line in lines_of(server.log)} == {"m1", "m2"}
    assert server.counts()["stored:"] == 2


def test_kill_9_of_the_parent_alone_leaves_no_worker_serving(server: Server) -> None:
    server.workers = 2
    server.start()
    workers = server.worker_pids()
    assert len(workers) == 2
    assert server.process
    os.kill(server.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    check_port("127.0.0.1", server.port)


def test_a_port_in_use_is_one_sentence(shared: Server, tmp_path: Path) -> None:
    with pytest.raises(CollectorError, match=f"Cannot listen on 127.0.0.1 port {shared.port}.*--port"):
        serve(tmp_path / "log", SOURCES, clock=lambda: datetime.now(UTC), port=shared.port)


def test_a_log_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectorError, match="cannot be made"):
        serve(tmp_path / "file" / "log", SOURCES, clock=lambda: datetime.now(UTC), port=free_port())


# --- hostile requests -------------------------------------------------------------------------------------


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(shared: Server) -> None:
    """Far less than what the client would send is read, then the answer comes."""
    with socket.create_connection(("127.0.0.1", shared.port), timeout=5) as connection:
        connection.sendall(
            b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Write-Key: pk_demo\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                connection.sendall(piece)
                sent += 65536
        with contextlib.suppress(OSError):
            got = connection.recv(65536)
            assert got.startswith(b"HTTP/1.1 400")
            assert b"too_large" in got
    assert sent < 20_000_000
    assert shared.counts()["refused:too_large"] >= 1


def test_an_announced_body_over_the_limit_is_refused_unread(shared: Server) -> None:
    head = b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Write-Key: pk_demo\r\nContent-Length: 99999999999\r\n\r\n"
    got = shared.raw(head, wait=2)
    assert got.startswith(b"HTTP/1.1 400")
    assert b'"code":"too_large"' in got


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked", b"Content-Length: 200000"])
def test_a_stalled_body_is_ended(shared: Server, framing: bytes) -> None:
    begun = time.monotonic()
    got = shared.raw(b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Write-Key: pk_demo\r\n" + framing + b"\r\n\r\n", wait=5)
    assert got.startswith(b"HTTP/1.1 408"), got
    assert b"body_timeout" in got
    assert time.monotonic() - begun < 6
    assert shared.track("m-after").status == 200


def test_stalled_headers_are_ended(shared: Server) -> None:
    begun = time.monotonic()
    shared.raw(b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Slow", wait=5)
    assert time.monotonic() - begun < 4


def test_bodies_beyond_the_common_budget_are_503(server: Server) -> None:
    server.limits = Limits(request_bytes=1_000_000, bodies_bytes=1_000_000, body_seconds=5)
    server.start()
    head = b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Write-Key: pk_demo\r\nContent-Length: 900000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as first:
        first.sendall(head + b" " * 800_000)
        time.sleep(0.3)
        reply = server.send("POST", "/v1/t", b" " * 300_000, X_Write_Key="pk_demo")
        assert (reply.status, reply.json["code"]) == (503, "busy")
        assert "retry-after" in reply.headers
        assert server.track().status == 200
    status = 0
    deadline = time.monotonic() + 8
    while status != 200 and time.monotonic() < deadline:
        status = server.send("POST", "/v1/t", b" " * 300_000, X_Write_Key="pk_demo").status
    assert status == 200


def test_abuse_is_429_for_the_key_or_the_address_that_does_it(server: Server) -> None:
    server.more = {"trusted_proxies": ["127.0.0.1/32"]}
    server.limits = Limits(rate_per_key=4, rate_per_address=1)
    server.start()
    replies = [server.track(f"a{n}", X_Forwarded_For="203.0.113.1") for n in range(10)]
    assert {reply.status for reply in replies} == {200, 429}
    assert replies[-1].json["code"] == "rate_limited"
    assert "retry-after" in replies[-1].headers
    assert server.track("b", X_Forwarded_For="203.0.113.2").status == 200
    batch = {"batch": [{"type": "page"}] * 100, "writeKey": "pk_demo"}
    statuses = [server.send("POST", "/v1/batch", batch, X_Forwarded_For=f"203.0.113.{n}").status for n in range(3, 6)]
    assert statuses[-1] == 429
    assert server.track("c", key="pk_app", X_Forwarded_For="203.0.113.9").status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/t?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\nX-Write-Key: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/t?writeKey=%ff%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /v1/t HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /%2e%2e/%ff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_crooked_requests_are_4xx_and_never_500(shared: Server, request_bytes: bytes) -> None:
    got = shared.raw(request_bytes, wait=3)
    assert got == b"" or got.startswith(b"HTTP/1.1 4"), got[:200]
    assert b"Traceback" not in got
    assert shared.get("/health").status == 200


def test_an_odd_event_is_named_and_its_bytes_are_in_the_log(server: Server) -> None:
    server.start()
    reply = server.send("POST", "/v1/t", b'{"event":"A","timestamp":"0000"}', X_Write_Key="pk_demo")
    assert reply.status == 200
    assert reply.json["rejected"][0]["reason"] == "bad_time"
    [line] = lines_of(server.log)
    assert line["reason"] == "bad_time"
    assert base64.b64decode(line["bytes"]) == b'{"event":"A","timestamp":"0000"}'
    assert server.counts() == {"rejected:bad_time": 1}


def test_an_unknown_key_leaves_no_byte_and_no_word(server: Server) -> None:
    server.start()
    reply = server.track("m1", key="pk_SECRETLIKE")
    assert (reply.status, set(reply.json)) == (401, {"code", "message"})
    assert server.counts() == {"declined:unknown_key": 1}
    assert lines_of(server.log) == []
    assert server.process
    server.process.terminate()
    assert "SECRETLIKE" not in server.output()


# --- CORS -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "key", "allowed"),
    [
        (SHOP, "pk_demo", SHOP),
        ("https://app.example", "pk_demo", None),
        ("https://evil.example", "pk_demo", None),
        ("null", "pk_demo", None),
        (SHOP + ".evil.example", "pk_demo", None),
        (SHOP.upper(), "pk_demo", None),
        (SHOP, "unknown", SHOP),
    ],
)
def test_only_a_listed_origin_is_echoed(shared: Server, origin: str, key: str, allowed: str | None) -> None:
    reply = shared.track("m", key=key, Origin=origin)
    assert reply.headers.get("access-control-allow-origin") == allowed
    assert reply.headers["vary"] == "origin"
    assert ("access-control-allow-credentials" in reply.headers) == (allowed is not None)
    if origin != SHOP:
        assert (reply.status, reply.json["code"]) == (403, "origin_not_allowed")


def test_a_preflight_is_allowed_for_any_listed_origin(shared: Server) -> None:
    for origin in (SHOP, "https://app.example"):
        reply = shared.send("OPTIONS", "/v1/track", Origin=origin)
        assert reply.status == 204
        assert reply.headers["access-control-allow-origin"] == origin
        assert reply.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert "X-Write-Key" in reply.headers["access-control-allow-headers"]
        assert reply.headers["access-control-max-age"] == "7200"
    reply = shared.send("OPTIONS", "/v1/track", Origin="https://evil.example")
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/health", 200), ("GET", "/nothing", 404), ("GET", "/v1/t", 405), ("POST", "/v1/t", 401)],
)
def test_every_answer_carries_the_cors_headers(shared: Server, method: str, path: str, status: int) -> None:
    reply = shared.send(method, path, b"{}" if method == "POST" else None, Origin=SHOP)
    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == SHOP
    assert reply.headers["access-control-expose-headers"] == "Retry-After"


def test_a_star_goes_without_credentials(server: Server) -> None:
    server.sources = [Source("trial", "pk_demo", origins=("*",))]
    server.start()
    reply = server.track("m", Origin="https://any.example")
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in reply.headers


# --- privacy ----------------------------------------------------------------------------------------------


def test_no_address_is_kept_whole_and_proxies_are_believed_only_if_configured(server: Server) -> None:
    server.more = {"trusted_proxies": ["127.0.0.1/32"]}
    server.start()
    server.track("v4", X_Forwarded_For="6.6.6.6, 203.0.113.77")
    server.track("v6", X_Forwarded_For="2001:db8:1234:5678::9")
    prefixes = [line["context"]["ip_prefix"] for line in lines_of(server.log)]
    assert prefixes == ["203.0.113.0/24", "2001:db8:1234::/48"]
    server.kill()
    other = Server(server.home / "untrusting").start()
    try:
        other.track("forged", X_Forwarded_For="203.0.113.77")
        assert lines_of(other.log)[0]["context"]["ip_prefix"] == "127.0.0.0/24"
    finally:
        other.kill()


def test_the_cookieless_id_is_the_same_for_all_workers_and_a_day(server: Server) -> None:
    server.workers = 2
    server.start()
    for n in range(20):
        assert server.track(f"m{n}", key="pk_app", User_Agent="Mozilla/5.0").status == 200
    lines = lines_of(server.log)
    assert {line["id_kind"] for line in lines} == {"daily"}
    assert len({line["anonymous_id"] for line in lines}) in (1, 2)  # two only around midnight
    assert (server.home / "daily.salt").stat().st_mode & 0o777 == 0o600
