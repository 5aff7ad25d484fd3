"""The live visitors promise: every event reaches the collector, in order, as an SDK would send it."""

from __future__ import annotations

import base64
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest

from demo.send import SendError, send
from demo.wire import Call, Event

Answer = tuple[int, bytes]


@contextmanager
def listening(answer: Callable[[int], Answer]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers its n-th request by `answer(n)`; its url, and the requests that it accepted."""
    taken: list[dict[str, Any]] = []
    seen = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
            seen[0] += 1
            status, text = answer(seen[0])
            if status == 200:
                taken.append({"path": self.path, "headers": dict(self.headers), "body": body})
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # all connections of a client at once
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def event(number: int, type_: str = "track", device: str = "d") -> Event:
    return Event(f"m{number}", type_, "2026-11-20T10:00:00.000Z", msgspec.Raw(b"{}"), "Hello", device)


def test_each_style_is_sent_as_its_sdk_sends() -> None:
    calls = [
        Call("batch", [event(1), event(2)], skew_ms=3_600_000),
        Call("short", [event(3, "page")]),
        Call("long", [event(4, "identify")]),
    ]
    with listening(lambda _: (200, b'{"success":true}')) as (url, taken):
        assert send(url, [calls], write_key="pk") == 4
    batch, short, long = taken
    assert [each["path"] for each in taken] == ["/v1/batch", "/v1/p", "/v1/identify"]
    assert batch["body"]["writeKey"] == short["body"]["writeKey"] == "pk"
    assert [each["messageId"] for each in batch["body"]["batch"]] == ["m1", "m2"]
    assert short["headers"]["Content-Type"] == "text/plain"
    assert base64.b64decode(long["headers"]["Authorization"].removeprefix("Basic ")) == b"pk:"
    now = datetime.now(UTC)
    ahead = datetime.fromisoformat(batch["body"]["sentAt"]) - now
    assert timedelta(minutes=59) < ahead <= timedelta(hours=1)
    assert abs(datetime.fromisoformat(long["body"]["sentAt"]) - now) < timedelta(minutes=1)


def test_busy_is_tried_again_and_order_is_kept() -> None:
    visits = [[Call("short", [event(number, device=f"d{visit}")]) for number in range(12)] for visit in range(9)]
    with listening(lambda n: (503, b"{}") if n % 4 == 0 else (200, b"{}")) as (url, taken):
        assert send(url, visits, write_key="pk") == 108
    by_device = defaultdict(list)
    for each in taken:
        by_device[each["body"]["anonymousId"]].append(each["body"]["messageId"])
    assert list(by_device.values()) == [[f"m{number}" for number in range(12)]] * 9


def test_a_repeated_call_comes_twice() -> None:
    with listening(lambda _: (200, b"{}")) as (url, taken):
        assert send(url, [[Call("batch", [event(1), event(2)], copies=2)]], write_key="pk") == 4
    assert len(taken) == 2
    assert taken[0]["body"]["batch"] == taken[1]["body"]["batch"]


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (401, b'{"code":"unknown_key"}', "answered 401 at /v1/p.*unknown_key"),
        (200, b'{"success":true,"rejected":[{"index":0}]}', "rejected an event at /v1/p"),
    ],
)
def test_what_is_not_taken_is_an_error(status: int, text: bytes, says: str) -> None:
    with listening(lambda _: (status, text)) as (url, _), pytest.raises(SendError, match=says):
        send(url, [[Call("short", [event(1, "page")])]], write_key="pk")


def test_no_collector_is_an_error() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SendError, match="cannot be reached"):
        send(f"http://127.0.0.1:{port}", [[Call("short", [event(1)])]], write_key="pk")
