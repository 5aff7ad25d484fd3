"""Events in their total order: by unit and time as whole numbers, and by the rest of the order only where two tie.

Sorting whole numbers is many times quicker than sorting rows, or than sorting the numbers of rows by them. So a row's
number stands in the low bits of what is sorted: by time first, where rows do not come so, then by unit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.int64]
REST = ("seq", "event_id", "source", "event_no")
_BITS = 63  # of a whole number that is not negative
_BLOCK = 1_000_000  # rows looked at together


def in_order(events: pl.DataFrame, unit: str, rest: Callable[[pl.Series], pl.DataFrame] | None = None) -> pl.DataFrame:
    """The same rows sorted by `unit` and at, both Int64 without nulls; rows equal in both keep their order.

    With `rest`, rows equal in both stand in the rest of the total order: it is called with the event_no of all of
    these, and gives columns REST for each.
    """
    # Rows are taken from columns in one piece ten times as fast.
    events = events.rechunk()
    units, at = (events[name].to_numpy() for name in (unit, "at"))
    if not _is_sorted(units, at):
        events = events[_series(_rows(units, at))]
    if rest is not None:
        units, at = (events[name].to_numpy() for name in (unit, "at"))
        tie = (units[1:] == units[:-1]) & (at[1:] == at[:-1])
        if tie.any():
            rows = np.arange(len(tie) + 1)
            place = np.flatnonzero(np.append(tie, False) | np.append(False, tie))
            tied = events.select("event_no", unit, "at")[_series(place)].with_columns(row=place)
            told = tied.join(rest(tied["event_no"].unique()), on="event_no", how="left")
            rows[place] = told.sort(unit, "at", *REST, nulls_last=True)["row"].to_numpy()
            events = events[_series(rows)]
    return events


def _series(rows: Numbers) -> pl.Series:
    return pl.Series(rows.astype(np.uint32))


def _is_sorted(units: Numbers, at: Numbers) -> bool:
    return all(
        bool(
            (
                (units[begin + 1 : end] > units[begin : end - 1])
                | ((units[begin + 1 : end] == units[begin : end - 1]) & (at[begin + 1 : end] >= at[begin : end - 1]))
            ).all()
        )
        for begin, end in _blocks(len(units))
    )


def _is_rising(values: Numbers) -> bool:
    return all(bool((values[begin + 1 : end] >= values[begin : end - 1]).all()) for begin, end in _blocks(len(values)))


def _blocks(count: int) -> list[tuple[int, int]]:
    """Slices that share a row with the next one, the first of them short: most that is not in order shows there."""
    ends = [0, *range(1000, count, _BLOCK), count]
    return [(max(begin - 1, 0), end) for begin, end in pairwise(ends)]


def _rows(units: Numbers, at: Numbers) -> Numbers:
    """The numbers of the rows in the order of unit and time."""
    if _is_rising(at):
        return _rows_by(units)
    by_time = _rows_by(at)
    return by_time[_rows_by(units[by_time])]


def _rows_by(values: Numbers) -> Numbers:
    """The numbers of the rows in the order of one column; equal ones keep their order."""
    bits = len(values).bit_length()
    least, most = int(values.min()), int(values.max())
    # The low bits that find no room are zero in times of whole milliseconds, and tell no two ids apart in most sets.
    shift = max(0, (most - least).bit_length() + bits - _BITS)
    if shift < _BITS - bits and most - least < 2**_BITS:
        packed = values - least
        packed >>= shift
        packed <<= bits
        packed |= np.arange(len(values))
        packed.sort()
        packed &= (1 << bits) - 1
        if not shift or _is_rising(values[packed]):
            return packed
    return np.argsort(values, kind="stable")
