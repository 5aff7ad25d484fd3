"""Abuse limits: a token bucket for each key or address."""

from __future__ import annotations

from typing import Final

MANY: Final = 50_000
BURST_SECONDS: Final = 5


class Rate:
    """At most `per_second` on the long run, five seconds' worth at once; None lets everything pass."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._most = max(1.0, (per_second or 0) * BURST_SECONDS)
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, who: str, n: int, now: float) -> bool:
        """Whether `who` may have n more at `now`, in seconds of a clock that never steps back.

        More than a full bucket at once passes when the bucket is full, and is then owed.
        """
        if self._per_second is None:
            return True
        if len(self._buckets) > MANY:  # those who came long ago have a full bucket again
            self._buckets = {
                each: (left, at)
                for each, (left, at) in self._buckets.items()
                if left + (now - at) * self._per_second < self._most
            }
        left, at = self._buckets.get(who, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        if left < min(n, self._most):
            self._buckets[who] = (left, now)
            return False
        self._buckets[who] = (left - n, now)
        return True
