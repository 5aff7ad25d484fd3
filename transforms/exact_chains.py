"""The chains of the few units for which no quick walk is exact: events that tie and could swap places.

Plain search with memory, one anchor at a time: chains.find_chains sends only such units here.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    def chain(self, anchor: int) -> list[int]:
        """The rows of the deepest chain from the anchor, the earliest of them."""
        self.limit = self.keys[anchor] + self.window_us
        for depth in range(self.count, 1, -1):
            self.dead: set[tuple[object, ...]] = set()
            chain = self.extend([anchor], depth)
            if chain:
                return chain
        return [anchor]

    def extend(self, chain: list[int], depth: int) -> list[int] | None:
        """The chain made `depth` long, or None; what failed once is not tried again."""
        if len(chain) == depth:
            return chain
        state = self.state(chain)
        if state in self.dead:
            return None
        for row in self.candidates(chain):
            longer = self.extend([*chain, row], depth)
            if longer:
                return longer
        self.dead.add(state)
        return None

    def fits(self, chain: list[int], row: int) -> bool:
        step = len(chain)
        return (
            row not in chain
            and bool(self.steps[row] >> step & 1)
            and self.keys[row] <= self.limit
            and self.keys[row] - self.keys[chain[-1]] <= self.windows[step - 1]
        )

    def state(self, chain: list[int]) -> tuple[object, ...]:
        """What the rest of the search depends on: the last row, and rows that could be wanted again."""
        used = frozenset(row for row in chain if self.steps[row] & (self.steps[row] - 1))
        return len(chain), chain[-1], used

    def candidates(self, chain: list[int]) -> Sequence[int]:
        raise NotImplementedError


class _Ordered(_Search):
    def candidates(self, chain: list[int]) -> Sequence[int]:
        bound = max(self.keys[chain[-1]], self.keys[chain[0]]) - self.slack
        return [row for row in range(len(self.keys)) if self.keys[row] >= bound and self.fits(chain, row)]


class _Strict(_Search):
    """Events of one instant may stand in any order: all of an instant in the middle must be in the chain."""

    def instant(self, row: int) -> list[int]:
        return [other for other, key in enumerate(self.keys) if key == self.keys[row]]

    def state(self, chain: list[int]) -> tuple[object, ...]:
        here = self.keys[chain[-1]]
        return len(chain), here, frozenset(row for row in chain if self.keys[row] == here)

    def candidates(self, chain: list[int]) -> Sequence[int]:
        here = self.instant(chain[-1])
        rows = [row for row in here if self.fits(chain, row)]
        # Before the anchor stands what is left of its own instant.
        is_whole = self.keys[chain[0]] == self.keys[chain[-1]] or all(row in chain for row in here)
        if is_whole and here[-1] + 1 < len(self.keys):
            rows += [row for row in self.instant(here[-1] + 1) if self.fits(chain, row)]
        return rows


class _Any(_Search):
    """No search: each event fills the lowest-numbered unfilled step that it matches."""

    def chain(self, anchor: int) -> list[int]:
        filled = self.lowest(self.steps[anchor], 0)
        chain = [anchor]
        for row, key in enumerate(self.keys):
            is_later = key > self.keys[chain[-1]] if self.slack < 0 else key >= self.keys[anchor]
            if row == anchor or not is_later:
                continue
            fill = self.lowest(self.steps[row], filled)
            if not fill:
                continue
            waited = key - self.keys[chain[-1]]
            if key > self.keys[anchor] + self.window_us or waited > self.windows[len(chain) - 1]:
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
