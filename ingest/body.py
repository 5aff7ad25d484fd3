"""Reading a request's body: counted while it comes, within a time, all bodies together within a budget."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import msgspec

from ingest.cors import Headers
from ingest.event import Reason
from ingest.protocols.request import error_answer
from ingest.tally import Refusal

SMALL_BYTES: Final = 64 * 1024  # such a body is read in one piece
RETRY_AFTER: Final[Headers] = (("retry-after", "5"),)


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in seconds; `bodies_bytes` is for all bodies in flight of all workers.

    `rate_per_key` counts the events of a source and `rate_per_address` the requests of an address, a second.
    """

    request_bytes: int = 10 * 1024 * 1024
    inflated_bytes: int = 20 * 1024 * 1024
    event_bytes: int = 256 * 1024
    bodies_bytes: int = 64 * 1024 * 1024
    header_seconds: float = 5
    body_seconds: float = 10
    rate_per_key: int | None = None
    rate_per_address: int | None = None


class Refused(Exception):
    """Nothing of this request is promised."""

    def __init__(self, reason: str, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.answer = error_answer(status, reason, message)
        self.headers = headers


class Bodies:
    """The bodies in flight of one worker; `budget` is its share of the bytes they may take together."""

    def __init__(self, limits: Limits, budget: int) -> None:
        self._limits = limits
        self._budget = max(budget, limits.request_bytes)
        self._in_flight = 0
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on ends the requests whose body is late; the server itself waits for ever."""
        oldest = time.monotonic() - self._limits.body_seconds
        for task, started in list(self._reading.items()):
            if started < oldest and task not in self._expired:
                self._expired.add(task)
                task.cancel()
        loop.call_later(0.5, self.watch, loop)

    async def read(self, proto: Any, headers: dict[str, str], too_large: int) -> tuple[bytes, int]:
        """The body, and the bytes of the budget it holds until `release`. Raises Refused.

        `too_large` is the status for a body over the limit: not every client stops on the same one.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request must run as a task, or it cannot be ended")
        length = self._length(headers, too_large)
        held = 0
        self._reading[task] = time.monotonic()
        try:
            if length is not None and length <= SMALL_BYTES:
                held = self.hold(length)
                return await proto(), held
            chunks = []
            # Held as it comes: who only announces much must not keep the others out.
            async for chunk in proto:
                held += self.hold(len(chunk))
                if held > self._limits.request_bytes:
                    raise self._too_large(too_large)
                chunks.append(chunk)
            return b"".join(chunks), held
        except BaseException as error:
            self.release(held)
            if isinstance(error, asyncio.CancelledError) and task in self._expired:
                task.uncancel()
                seconds = self._limits.body_seconds
                raise Refused(Refusal.BODY_TIMEOUT, 408, f"the body did not come within {seconds:g} s") from None
            if isinstance(error, RuntimeError | OSError):
                raise Refused(Refusal.BAD_REQUEST, 400, "the body ended early") from None
            raise
        finally:
            self._expired.discard(task)
            self._reading.pop(task, None)

    def release(self, size: int) -> None:
        """Gives bytes back to the budget."""
        self._in_flight -= size

    def _length(self, headers: dict[str, str], too_large: int) -> int | None:
        """The announced length of the body; None if it comes in chunks."""
        announced = headers.get("content-length")
        if "transfer-encoding" in headers:
            if announced is not None:
                raise Refused(Refusal.BAD_REQUEST, 400, "Content-Length and Transfer-Encoding exclude each other")
            return None
        if announced is None:
            return 0
        if not announced.isdecimal():
            raise Refused(Refusal.BAD_REQUEST, 400, "Content-Length is no number")
        length = int(announced[:20])
        if length > self._limits.request_bytes:
            raise self._too_large(too_large)
        return length

    def _too_large(self, status: int) -> Refused:
        message = f"the request is larger than {self._limits.request_bytes} bytes; send smaller batches"
        return Refused(Reason.TOO_LARGE, status, message)

    def hold(self, size: int) -> int:
        """Takes bytes of the budget, and gives their number back. Raises Refused when there are too few."""
        if self._in_flight + size > self._budget:
            raise Refused(Refusal.BUSY, 503, "too many requests at once; try again later", RETRY_AFTER)
        self._in_flight += size
        return size
