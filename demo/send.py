"""Send the last day's visitors to a collector over HTTP, as their SDKs would, several at once."""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from threading import Lock, Thread
from urllib.parse import urlsplit

import msgspec

from demo.days import iso, now_ms
from demo.shop import HOST
from demo.wire import Batch, Call

CONNECTIONS = 6
TRIES = 8

_encode = msgspec.json.Encoder().encode


class SendError(Exception):
    """The collector did not take what was sent; the message says what it answered."""


def request(call: Call, write_key: str, at: int) -> tuple[str, dict[str, str], bytes]:
    """Path, headers and body of a call that is sent at the instant `at` (milliseconds, UTC)."""
    sent_at = iso(at + call.skew_ms)
    if call.style == "batch":
        headers = {"Content-Type": "application/json"}
        return "/v1/batch", headers, _encode(Batch(call.events, sent_at, write_key))
    (event,) = call.events
    if call.style == "short":
        headers = {"Content-Type": "text/plain", "Origin": HOST}
        body = msgspec.structs.replace(event, sent_at=sent_at, write_key=write_key)
        return f"/v1/{event.type[0]}", headers, _encode(body)
    basic = base64.b64encode(f"{write_key}:".encode()).decode()
    headers = {"Content-Type": "application/json", "Origin": HOST, "Authorization": f"Basic {basic}"}
    return f"/v1/{event.type}", headers, _encode(msgspec.structs.replace(event, sent_at=sent_at))


def send(
    url: str,
    visits: Sequence[Sequence[Call]],
    *,
    write_key: str,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Send all visits, repeated calls repeatedly; how many events went over the wire.

    A visit's calls go over one kept connection, in order; a call that is answered 503 is sent again after
    the time that the answer names. Raises SendError if the collector cannot be reached or refuses a call.
    """
    waiting = deque(visits)
    total = sum(len(call.events) * call.copies for calls in visits for call in calls)
    lock, done, errors = Lock(), [0], list[BaseException]()

    def work() -> None:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        try:
            while not errors:
                try:
                    calls = waiting.popleft()
                except IndexError:
                    return
                for call in calls:
                    for _ in range(call.copies):
                        _post(connection, call, write_key)
                        with lock:
                            done[0] += len(call.events)
                            if progress:
                                progress(done[0], total)
        except (SendError, OSError, HTTPException) as error:
            errors.append(error)
        finally:
            connection.close()

    workers = [Thread(target=work, daemon=True) for _ in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        error = errors[0]
        if isinstance(error, SendError):
            raise error
        raise SendError(f"The collector at {url} cannot be reached: {error}.") from error
    return done[0]


def _post(connection: HTTPConnection, call: Call, write_key: str) -> None:
    for _ in range(TRIES):
        path, headers, body = request(call, write_key, now_ms())
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            if b"rejected" in text:
                raise SendError(f"The collector rejected an event at {path}: {text.decode()[:300]}")
            return
        if answer.status != 503:
            break
        time.sleep(min(2.0, float(answer.getheader("Retry-After") or 1)))
    raise SendError(f"The collector answered {answer.status} at {path}: {text.decode()[:300]}")
