"""The chains of the few units for which no quick walk is exact: events that tie and could swap places.

Plain search with memory, one anchor at a time: chains.find_chains sends only such units here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property

import polars as pl

from transforms.definitions import Funnel


def exact_chains(
    part: pl.DataFrame,
    anchors: pl.Series,
    funnel: Funnel,
    slack: int,
    step_windows: tuple[int, ...] | None,
    window_us: int,
) -> list[pl.Series]:
    """As chains.find_chains, by search: of all orders that the ties allow, the deepest and earliest chain."""
    count = len(funnel.steps)
    windows = step_windows or (window_us + abs(slack),) * (count - 1)
    search = {"ordered": _Ordered, "strict": _Strict, "any": _Any}[funnel.order]
    units = part["unit_id"].gather(anchors).rle().struct.unnest()
    found: list[list[int | None]] = []
    done = 0
    bounds = _bounds(part, anchors)
    for length in units["len"].to_list():
        first, last = bounds[done]
        rows = part.slice(first, last - first)
        unit = search(rows["key"].to_list(), rows["steps"].to_list(), count, windows, window_us, slack)
        for anchor in anchors.slice(done, length).to_list():
            chain: list[int | None] = [first + index for index in unit.chain(anchor - first)]
            found.append(chain + [None] * (count - len(chain)))
        done += length
    columns = zip(*found, strict=True)
    return [pl.Series(values, dtype=pl.UInt32) for values in columns]


def _bounds(part: pl.DataFrame, anchors: pl.Series) -> list[tuple[int, int]]:
    """First row and row after the last of the anchor's unit."""
    units = part["unit_id"].gather(anchors)
    left = part["unit_id"].search_sorted(units, "left").to_list()
    right = part["unit_id"].search_sorted(units, "right").to_list()
    return list(zip(left, right, strict=True))


class _Search:
    """One unit's events in total order, and the chains from its anchors."""

    def __init__(
        self,
        keys: Sequence[int],
        steps: Sequence[int],
        count: int,
        windows: tuple[int, ...],
        window_us: int,
        slack: int,
    ) -> None:
        self.keys, self.steps, self.count = keys, steps, count
        self.windows, self.window_us, self.slack = windows, window_us, slack
        self.rows = [[row for row, mask in enumerate(steps) if mask >> step & 1] for step in range(count)]
        self.times = [[keys[row] for row in rows] for rows in self.rows]

    def chain(self, anchor: int) -> list[int]:
        """The rows of the deepest chain from the anchor, the earliest of them."""
        self.limit = self.keys[anchor] + self.window_us
        for depth in range(self.count, 1, -1):
            self.depth = depth
            self.latest = self.latest_times(anchor)
            self.dead: set[tuple[object, ...]] = set()
            chain = self.extend([anchor]) if self.latest else None
            if chain:
                return chain
        return [anchor]

    def latest_times(self, anchor: int) -> list[int]:
        """Until when each step must be filled for the steps after it to follow; empty where that cannot be."""
        back, latest = max(self.slack, 0), [self.limit]
        for times in reversed(self.times[1 : self.depth]):
            place = bisect_right(times, min(latest[-1], self.limit)) - 1
            if place < 0 or times[place] < self.keys[anchor] - back:
                return []
            latest.append(times[place] + back)
        return [time - back for time in latest[:0:-1]]

    def extend(self, chain: list[int]) -> list[int] | None:
        """The chain made `depth` long, or None; what failed once is not tried again."""
        if len(chain) == self.depth:
            return chain
        state = self.state(chain)
        if state in self.dead:
            return None
        for row in self.candidates(chain):
            longer = self.extend([*chain, row])
            if longer:
                return longer
        self.dead.add(state)
        return None

    def state(self, chain: list[int]) -> tuple[object, ...]:
        """What the rest of the search depends on: the time reached, and the used events that a later step could want.

        Events of one instant that match the same steps are the same to it; so are all that lie too far back.
        """
        last, back = self.keys[chain[-1]], max(self.slack, 0)
        floor = max(last - back * (self.depth - len(chain)), self.keys[chain[0]] - back)
        used = sorted(
            (self.keys[row], self.steps[row])
            for row in chain
            if self.keys[row] >= floor and self.steps[row] & (self.steps[row] - 1)
        )
        return len(chain), last, tuple(used)

    def candidates(self, chain: list[int]) -> Iterable[int]:
        """Rows that may follow, in total order."""
        raise NotImplementedError


class _Ordered(_Search):
    def candidates(self, chain: list[int]) -> Iterable[int]:
        step, last = len(chain), self.keys[chain[-1]]
        first = bisect_left(self.times[step], max(last, self.keys[chain[0]]) - self.slack)
        until = bisect_right(self.times[step], min(self.latest[step - 1], last + self.windows[step - 1]))
        rows = self.rows[step]
        return (rows[place] for place in range(first, until) if rows[place] not in chain)


class _Strict(_Search):
    """Events of one instant may stand in any order: all of an instant in the middle must be in the chain."""

    @cached_property
    def kinds(self) -> dict[int, dict[int, list[int]]]:
        """The rows of each instant by the steps that they match."""
        kinds: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, (key, steps) in enumerate(zip(self.keys, self.steps, strict=True)):
            kinds[key][steps].append(row)
        return kinds

    def instant(self, row: int) -> range:
        return range(bisect_left(self.keys, self.keys[row]), bisect_right(self.keys, self.keys[row]))

    def state(self, chain: list[int]) -> tuple[object, ...]:
        here = self.keys[chain[-1]]
        return len(chain), here, tuple(sorted(self.steps[row] for row in chain if self.keys[row] == here))

    def candidates(self, chain: list[int]) -> Iterable[int]:
        here = self.instant(chain[-1])
        rows = self.unused(self.keys[here.start], chain)
        # Before the anchor stands what is left of its own instant.
        is_first = self.keys[chain[0]] == self.keys[chain[-1]]
        if (is_first or sum(row in here for row in chain) == len(here)) and here.stop < len(self.keys):
            rows += self.unused(self.keys[here.stop], chain)
        return rows

    def unused(self, key: int, chain: list[int]) -> list[int]:
        """Of the events at `key` that may be the next step, of each kind the first that is not in the chain.

        Events of one kind match the same steps, so all of them are the same to the chain.
        """
        step = len(chain)
        if key > self.limit or key - self.keys[chain[-1]] > self.windows[step - 1]:
            return []
        wanted = [rows for steps, rows in self.kinds[key].items() if steps >> step & 1]
        firsts = (next((row for row in rows if row not in chain), None) for rows in wanted)
        return sorted(row for row in firsts if row is not None)


class _Any(_Search):
    """No search: each event fills the lowest-numbered unfilled step that it matches."""

    def chain(self, anchor: int) -> list[int]:
        filled = self.lowest(self.steps[anchor], 0)
        chain = [anchor]
        for row in range(bisect_left(self.keys, self.keys[anchor]), len(self.keys)):
            key = self.keys[row]
            is_later = key > self.keys[chain[-1]] if self.slack < 0 else key >= self.keys[anchor]
            if key > self.keys[anchor] + self.window_us:
                break
            if row == anchor or not is_later:
                continue
            fill = self.lowest(self.steps[row], filled)
            if not fill:
                continue
            if key - self.keys[chain[-1]] > self.windows[len(chain) - 1]:
                break
            filled |= fill
            chain.append(row)
            if len(chain) == self.count:
                break
        return chain

    @staticmethod
    def lowest(steps: int, filled: int) -> int:
        free = steps & ~filled
        return free & -free
