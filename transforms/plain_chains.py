"""The chains of plain funnels, by the shortest way: an event is one whole number, and blocks of those are walked.

Plain is a funnel with steps in order, ties in either order, one window, no exclude and one attempt a unit and period.
Each of its events must match one step only. Then an event's number holds its unit, its time and its step, in this
order: sorted, the numbers stand in the order of the funnel, tied ones too. A block has whole units and is small enough
for a core's own memory. A unit's times end more than a window before the next one's begin, so that no walk has to ask
where a unit ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.chains import ROW, window_us
from transforms.definitions import Funnel
from transforms.timeline import side_by_side, worth_cores
from transforms.total_order import Numbers, blocks, is_rising

_BITS = 63  # of a whole number that is not negative
_BLOCK = 65536  # events
_CLOSE = 4  # ids a row: so close together they serve as numbers themselves
_GRAINS = (1, 1000)  # µs that a number counts: in whole milliseconds a thousand times as much has room
_NONE = -1


def is_plain(funnel: Funnel) -> bool:
    """Whether the funnel can be walked so; its events may still forbid it."""
    return (
        funnel.order == "ordered"
        and funnel.ties == "either"
        and funnel.either_within_us <= 0
        and funnel.counting == "uniques"
        and not funnel.step_window_us
        and not funnel.exclude
    )


class _Axis(NamedTuple):
    """An event's number: ((unit - before) << time_bits | (at - begin) // grain) << step_bits | step.

    The window is in grains too. Units count from 1: no time is 0, which stands for none. Step step_n stands for what no
    attempt meets: events of no step, and those of the first one outside all periods.
    """

    before: int
    begin: int
    grain: int
    time_bits: int
    step_bits: int
    step_n: int
    window: int


def plain_chains(events: pl.DataFrame, funnel: Funnel, *, in_order: bool) -> pl.DataFrame | None:
    """The chain of every attempt of a plain funnel, sorted by unit and time; None where the events forbid this way.

    events: as funnels.attempts takes them, in total order or, without `in_order`, in any. Out: unit_id, period_start,
    hit (null: no exclude) and for each step at_<step> (µs, null after the depth), in order also row_<step>, the number
    of the event's row.
    """
    steps, period = pl.col("steps"), pl.col("period_start")
    told = events.select(
        begin=pl.col("at").min(),
        end=pl.col("at").max(),
        lowest=pl.col("unit_id").min(),
        highest=pl.col("unit_id").max(),
        has_several=((steps & (steps - 1)) != 0).any(),
        first_period=period.min(),
        last_period=period.max(),
    ).row(0, named=True)
    is_one_period = told["first_period"] == told["last_period"]
    is_best = funnel.reentry == "optimized"
    if events.is_empty() or told["has_several"] or not (is_one_period or (in_order and not is_best)):
        return None
    events, ids = _numbered(events, told["lowest"], told["highest"])
    made = _pack(events, (_axis(told["begin"], told["end"], grain, ids, funnel) for grain in _GRAINS))
    if made is None:
        return None
    axis, packed = made
    if not in_order:
        _sort(packed, axis)
    periods = None if is_one_period else events["period_start"].to_physical().fill_null(0).to_numpy()

    def walk(some: Numbers) -> list[tuple[Numbers, Numbers]]:
        return [_walk(packed[begin:end], begin, axis, is_best, periods) for begin, end in some.tolist()]

    walked = side_by_side(walk, np.array_split(_whole_units(packed, axis), worth_cores(len(packed))))
    whens, rows = (np.concatenate(part, axis=1) for part in zip(*chain.from_iterable(walked), strict=True))
    unit = (whens[0] >> axis.time_bits) + axis.before
    found = pl.DataFrame({"unit_id": unit if isinstance(ids, range) else ids.gather(unit)})
    for step, (when, row) in enumerate(zip(whens, rows, strict=True)):
        at = (when & ((1 << axis.time_bits) - 1)) * axis.grain + axis.begin
        reached = pl.DataFrame({f"at_{step}": at, f"row_{step}": row.astype(np.uint32)})
        found = found.hstack(reached.select(pl.when(pl.Series(when != _NONE)).then(pl.all())))
    start = pl.lit(told["first_period"], pl.Date) if is_one_period else events["period_start"].gather(found["row_0"])
    found = found.with_columns(period_start=start, hit=pl.lit(None, ROW))
    return found if in_order else found.select(pl.exclude("^row_.*$"))


def _numbered(events: pl.DataFrame, lowest: int, highest: int) -> tuple[pl.DataFrame, pl.Series | range]:
    """The events with numbers for units, in the order of their ids, and the ids from the lowest number on."""
    if highest - lowest < _CLOSE * events.height:
        return events, range(lowest, highest + 1)
    ids = events["unit_id"].unique().sort()
    numbers = pl.DataFrame({"unit_id": ids, "number": pl.int_range(ids.len(), eager=True)})
    unit = events.select("unit_id").join(numbers, on="unit_id", how="left", maintain_order="left")["number"]
    return events.with_columns(unit.alias("unit_id")), ids


def _axis(begin: int, end: int, grain: int, ids: pl.Series | range, funnel: Funnel) -> _Axis | None:
    """An axis that holds all units; None where there is none."""
    step_n, window = len(funnel.steps), window_us(funnel) // grain
    time_bits = ((end - begin) // grain + window + 1).bit_length()
    before = (ids.start if isinstance(ids, range) else 0) - 1
    axis = _Axis(before, begin, grain, time_bits, step_n.bit_length(), step_n, window)
    return axis if (len(ids) + 1).bit_length() + axis.time_bits + axis.step_bits <= _BITS else None


def _pack(events: pl.DataFrame, axes: Iterable[_Axis | None]) -> tuple[_Axis, Numbers] | None:
    """The first axis that serves, and the numbers of all events on it."""
    for axis in axes:
        packed = _packed(events, axis) if axis else None
        if axis and packed is not None:
            return axis, packed
    return None


def _packed(events: pl.DataFrame, axis: _Axis) -> Numbers | None:
    """The numbers of all events; None where times are finer than the axis.

    Memory that is new costs more than the sums do: what is between is made in blocks.
    """
    packed = np.empty(events.height, np.int64)
    has_gaps = events["period_start"].null_count() > 0

    def pack(begins: Numbers) -> bool:
        for begin in begins.tolist():
            some = events.slice(begin, _BLOCK)
            unit, at, steps = (some[name].to_numpy() for name in ("unit_id", "at", "steps"))
            # A power of two minus one has as many ones as the power; zero minus one has all.
            step = np.minimum(np.bitwise_count(steps - np.uint32(1)), axis.step_n)
            if has_gaps:
                step[(step == 0) & some["period_start"].is_null().to_numpy()] = axis.step_n
            since = at - axis.begin
            time = since // axis.grain
            if axis.grain > 1 and (time * axis.grain != since).any():
                return False
            packed[begin : begin + _BLOCK] = ((unit - axis.before) << axis.time_bits | time) << axis.step_bits | step
        return True

    parts = np.array_split(np.arange(0, events.height, _BLOCK), worth_cores(events.height))
    return packed if all(side_by_side(pack, parts)) else None


def _sort(packed: Numbers, axis: _Axis) -> None:
    """Sort in place; numbers that only ties put out of order are left to the walk."""
    if all(is_rising(packed[begin:end] >> axis.step_bits) for begin, end in blocks(len(packed))):
        return
    count = worth_cores(len(packed))
    ends = [len(packed) * number // count for number in range(count + 1)]
    if count > 1:
        packed.partition(ends[1:-1])
    side_by_side(np.ndarray.sort, [packed[begin:end] for begin, end in pairwise(ends)])


def _whole_units(packed: Numbers, axis: _Axis) -> Numbers:
    """Begin and end of each block."""
    shift = axis.time_bits + axis.step_bits
    begins = np.searchsorted(packed, packed[_BLOCK::_BLOCK] >> shift << shift)
    ends = np.unique(np.concatenate([[0], begins, [len(packed)]]))
    return np.stack([ends[:-1], ends[1:]], axis=1)


def _walk(
    packed: Numbers, row: int, axis: _Axis, is_best: bool, periods: npt.NDArray[np.int32] | None
) -> tuple[Numbers, Numbers]:
    """From each anchor of a block that counts to the earliest event of the next step, and so on.

    Gives for each step (a line) and attempt the event's time, below its unit, and its row; -1 after the depth.
    """
    count = len(packed)
    rows = np.arange(row, row + count)
    if not is_rising(packed):
        order = packed.argsort(kind="stable")
        packed, rows = packed[order], rows[order]
    when = packed >> axis.step_bits
    step = (packed & ((1 << axis.step_bits) - 1)).astype(np.uint8)
    if is_best:
        here = np.searchsorted(packed, _best(when, step, axis) << axis.step_bits, "right") - 1
    else:
        here = np.flatnonzero(step == 0)
        is_new = np.diff(when[here] >> axis.time_bits) != 0
        if periods is not None:
            is_new |= np.diff(periods[rows[here]]) != 0
        here = here[np.append(True, is_new)[: len(here)]]
    begin = when[here]
    whens, found = [begin], [rows[here]]
    # Beyond the last event lies one that no window reaches.
    when, rows = np.append(when, np.iinfo(np.int64).max), np.append(rows, _NONE)
    left, following = np.arange(count, 0, -1), np.zeros(count + 1, np.int64)
    for number in range(1, axis.step_n):
        np.multiply(left, step == number, out=following[:-1])
        here = count - np.maximum.accumulate(following[::-1])[::-1][here]
        here[when[here] - begin > axis.window] = count
        whens.append(np.where(here < count, when[here], _NONE))
        found.append(rows[here])
    return np.array(whens), np.array(found)


def _best(when: Numbers, step: npt.NDArray[np.uint8], axis: _Axis) -> Numbers:
    """Of each unit with an anchor, the time of the one with the deepest chain, the latest of them.

    `since` is, event by event, the latest anchor from which a step has been reached, that of the latest event of the
    step before: no earlier one comes so far. One of another unit lies beyond the window.
    """
    unit = when >> axis.time_bits
    last = np.flatnonzero(np.append(unit[1:] != unit[:-1], True))
    unit = unit[last]
    since = np.maximum.accumulate(when * (step == 0))
    best = since[last]
    for number in range(1, axis.step_n):
        is_met = (step == number) & (when - since <= axis.window)
        since = np.maximum.accumulate(since * is_met)
        best = np.where(since[last] >> axis.time_bits == unit, since[last], best)
    own: Numbers = best[best >> axis.time_bits == unit]
    return own
