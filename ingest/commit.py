"""Group commit: all requests that wait share one append, and so one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

GROUP_BYTES = 4 * 1024 * 1024
# A commit costs the processor about as much as several requests, so in a crowd they gather for a moment.
PACE_SECONDS = 0.003
CROWD = 4


class Log(Protocol):
    """What is needed of ingest.log.Writer."""

    def append(self, lines: Sequence[bytes], first_received_at: datetime, last_received_at: datetime, /) -> object: ...


class Waiting:
    """One request's lines on their way to the disk."""

    __slots__ = ("done", "lines", "received_at", "then")

    def __init__(
        self, lines: list[bytes], received_at: datetime, then: Callable[[], None], done: asyncio.Future[None]
    ) -> None:
        self.lines = lines
        self.received_at = received_at
        self.then = then
        self.done = done


class GroupCommit:
    """While a thread commits one group, the next gathers; each request hears when its group is on disk.

    Belongs to one event loop. A failed append fails exactly the requests of its group.
    """

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._loop = loop
        self._gathering: list[Waiting] = []
        self._is_busy = False
        self._next_start = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="footfall-commit")

    def store(self, lines: list[bytes], received_at: datetime, then: Callable[[], None]) -> asyncio.Future[None]:
        """A future that is done when the lines are on disk, or has the error of the append.

        `then` is called as soon as they are, even if nobody waits for the future any more.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._gathering.append(Waiting(lines, received_at, then, done))
        if not self._is_busy:
            self._is_busy = True
            self._start_soon()
        return done

    def close(self) -> None:
        """Waits for the group that is being committed."""
        self._thread.shutdown(wait=True)

    def _start_soon(self) -> None:
        wait = self._next_start - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._start)
        else:
            self._loop.call_soon(self._start)  # requests that the loop has already read join this group

    def _start(self) -> None:
        group = self._gathering
        size = n = 0
        for waiting in group:
            size += sum(map(len, waiting.lines))
            if size > GROUP_BYTES and n:
                break
            n += 1
        self._gathering = group[n:]
        self._next_start = self._loop.time() + PACE_SECONDS if n >= CROWD else 0.0
        self._thread.submit(self._append, group[:n])

    def _append(self, group: list[Waiting]) -> None:
        error: Exception | None = None
        try:
            lines = [line for waiting in group for line in waiting.lines]
            # The clock may have been set back between two requests.
            times = [waiting.received_at for waiting in group]
            self._log.append(lines, min(times), max(times))
        except Exception as caught:  # the waiting requests are told, whatever it is
            error = caught
        self._loop.call_soon_threadsafe(self._finish, group, error)

    def _finish(self, group: list[Waiting], error: Exception | None) -> None:
        if self._gathering:
            self._start_soon()
        else:
            self._is_busy = False
        for waiting in group:
            if error is None:
                waiting.then()
            if not waiting.done.done():  # its client may have gone away
                if error is None:
                    waiting.done.set_result(None)
                else:
                    waiting.done.set_exception(error)
