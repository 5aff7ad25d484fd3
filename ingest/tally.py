"""Counts of the four fates, shared by all workers: whichever is asked knows the sum."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from enum import StrEnum

from ingest.event import Fate, Reason


class Refusal(StrEnum):
    """Why a request was refused: the closed set, besides the reasons of rejection."""

    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BAD_REQUEST = "bad_request"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    BODY_TIMEOUT = "body_timeout"
    BUSY = "busy"
    RATE_LIMITED = "rate_limited"
    LOG_FULL = "log_full"
    FAULT = "fault"


class Decline(StrEnum):
    """Why an event was declined: the closed set."""

    UNKNOWN_KEY = "unknown_key"
    CONSENT = "consent"


PII = "pii_dropped"  # no fate: pieces of addresses that the PII rule took out

Key = tuple[str, str, str, str]


class Tally:
    """One row of counters a worker, in memory that forked workers share.

    Made before the fork; each worker calls `claim` with its number and from then on counts in its own row, so
    no two processes write one cell. A worker that comes back goes on where its row stood.
    """

    def __init__(self, sources: Iterable[str], protocols: Iterable[str], workers: int) -> None:
        reasons = {
            Fate.STORED: [""],
            Fate.REJECTED: [*Reason],
            Fate.DECLINED: [*Decline],
            Fate.REFUSED: [*Refusal, *Reason],
            PII: [""],
        }
        sources, protocols = [*sources, ""], [*protocols, ""]
        keys: list[Key] = [
            (str(fate), source, protocol, str(reason))
            for fate, names in reasons.items()
            for source in sources
            for protocol in protocols
            for reason in names
        ]
        self._place = {key: index for index, key in enumerate(keys)}
        self._width = len(keys)
        self._cells = memoryview(mmap.mmap(-1, 8 * self._width * workers)).cast("Q")
        self._workers = workers
        self._offset = 0

    def claim(self, worker: int) -> None:
        """From now on this process counts as worker 0, 1, …"""
        self._offset = (worker % self._workers) * self._width

    def count(self, fate: str, source: str, protocol: str, reason: str = "", n: int = 1) -> None:
        """Adds n; a reason outside the closed sets is a KeyError."""
        self._cells[self._offset + self._place[fate, source, protocol, reason]] += n

    def totals(self) -> dict[Key, int]:
        """(fate, source, protocol, reason) → count over all workers, without zeros."""
        cells = self._cells.tolist()
        sums = {key: sum(cells[place :: self._width]) for key, place in self._place.items()}
        return {key: n for key, n in sums.items() if n}
