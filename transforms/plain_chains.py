"""The chains of plain funnels, by the shortest way: an event is one whole number, and columns of those are searched.

Plain is a funnel with steps in order, ties in either order, one window, no exclude and one attempt a unit and period.
Each of its events must match one step only. Then a step's events are a sorted column of keys, unit * width + time, and
`width` is so wide that another unit always lies beyond the window: no search needs to know the units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from transforms.chains import earliest, gather, window_us
from transforms.definitions import Funnel
from transforms.timeline import side_by_side, worth_cores

_ROOM = 2**62
_CLOSE = 4  # ids a row: so close together they serve as numbers themselves
_GRAINS = (1, 1000)  # µs that a key counts: in whole milliseconds a thousand times as much has room


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
    """A key is (number of the unit) * width + (at - begin) // grain; the window is in grains too."""

    begin: int
    grain: int
    width: int
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
    if events.is_empty() or told["has_several"] or (funnel.reentry == "optimized" and not is_one_period):
        return None
    unit, ids = _numbered(events["unit_id"], told["lowest"], told["highest"], in_order)
    axis = _axis(events["at"], told["begin"], told["end"], window_us(funnel), len(ids))
    if axis is None:
        return None
    keyed = events.select((unit * axis.width + (pl.col("at") - axis.begin) // axis.grain).alias("key"), steps, period)
    columns = ["key"]
    if in_order:
        keyed, columns = keyed.with_row_index("row"), ["key", "row"]
    first = columns if is_one_period else [*columns, "period_start"]
    of_steps = [
        keyed.select(pl.col(first).filter(period.is_not_null() & ((steps & 1) != 0))),
        *(keyed.select(pl.col(columns).filter((steps & (1 << step)) != 0)) for step in range(1, len(funnel.steps))),
    ]
    if not in_order:
        of_steps = side_by_side(_by_key, of_steps)
    slices = _slices(of_steps, axis, len(ids), events.height)
    found = pl.concat(side_by_side(lambda some: _walk(some, axis, funnel.reentry), slices))
    if is_one_period:
        found = found.with_columns(period_start=pl.lit(told["first_period"], pl.Date))
    if isinstance(ids, range):
        return found.with_columns(unit_id=pl.col("unit") + ids.start, hit=None)
    return found.with_columns(ids.gather(found["unit"]).alias("unit_id"), hit=None)


def _numbered(unit: pl.Series, lowest: int, highest: int, in_order: bool) -> tuple[pl.Series, pl.Series | range]:
    """Each row's unit as a number from 0, in the order of the ids, and the ids by number."""
    if in_order:
        number = unit.rle_id().cast(pl.Int64)
        return number, unit.filter((number != number.shift()).fill_null(True))
    if highest - lowest < _CLOSE * unit.len():
        return unit - lowest, range(lowest, highest + 1)
    ids = unit.unique().sort()
    numbers = pl.DataFrame({"unit_id": ids, "number": pl.int_range(ids.len(), eager=True)})
    return unit.to_frame().join(numbers, on="unit_id", how="left", maintain_order="left")["number"], ids


def _axis(at: pl.Series, begin: int, end: int, window: int, unit_n: int) -> _Axis | None:
    """An axis that holds all units; None where there is none."""
    for grain in _GRAINS:
        width = (end - begin + window) // grain + 2
        if unit_n * width <= _ROOM and (grain == 1 or ((at - begin) % grain == 0).all()):
            return _Axis(begin, grain, width, window // grain)
    return None


def _by_key(of_step: pl.DataFrame) -> pl.DataFrame:
    """The same rows in the order of their keys; where there is nothing beside the key, the quickest sort will do."""
    key = of_step["key"]
    if of_step.width > 1:
        return of_step.sort("key")
    return pl.DataFrame({"key": key if key.is_sorted() else np.sort(key.to_numpy())}).set_sorted("key")


def _slices(of_steps: list[pl.DataFrame], axis: _Axis, unit_n: int, rows: int) -> list[list[pl.DataFrame]]:
    """The steps' events cut between units, a slice for each core."""
    count = worth_cores(rows)
    cuts = [unit_n * number // count * axis.width for number in range(count + 1)]
    ends = [[int(of_step["key"].search_sorted(cut)) for cut in cuts] for of_step in of_steps]
    return [
        [of_step.slice(end[number], end[number + 1] - end[number]) for of_step, end in zip(of_steps, ends, strict=True)]
        for number in range(count)
    ]


def _walk(of_steps: list[pl.DataFrame], axis: _Axis, reentry: str) -> pl.DataFrame:
    """From each anchor that counts to the earliest event of the next step, and so on."""
    anchors = _best(of_steps, axis) if reentry == "optimized" else _first(of_steps[0], axis)
    begin = anchors["key"]
    places = earliest(begin, [of_step["key"] for of_step in of_steps], begin + axis.window, 0)
    chains = anchors.select((pl.col("key") // axis.width).alias("unit"), pl.exclude("key", "row"))
    for step, reached in enumerate([anchors, *map(_at, of_steps[1:], places)]):
        at = pl.col("key") % axis.width * axis.grain + axis.begin
        chains = chains.hstack(reached.select(at.alias(f"at_{step}"), pl.col("^row$").alias(f"row_{step}")))
    return chains


def _at(of_step: pl.DataFrame, place: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([gather(column, place) for column in of_step.get_columns()])


def _first(anchors: pl.DataFrame, axis: _Axis) -> pl.DataFrame:
    """The first anchor of each unit and period."""
    unit = pl.col("key") // axis.width
    period = [pl.col("period_start")] if "period_start" in anchors.columns else []
    is_new = pl.any_horizontal(one != one.shift() for one in (unit, *period))
    return anchors.filter(is_new.fill_null(True))


def _best(of_steps: list[pl.DataFrame], axis: _Axis) -> pl.DataFrame:
    """Of each unit the anchor of its deepest chain, the latest of them.

    Event by event, step by step, `since` is the latest anchor from which the event can be reached, that of the latest
    event of the step before: no earlier one comes so far. One of another unit lies beyond the window.
    """
    anchors = of_steps[0]["key"]
    begin = (_first(of_steps[0], axis)["key"] // axis.width * axis.width).alias("begin")
    units = pl.DataFrame([begin, (begin + axis.width - 1).alias("end")])
    reached = pl.DataFrame({"key": anchors, "since": anchors})
    best = pl.repeat(None, begin.len(), dtype=pl.Int64, eager=True)
    for step in range(len(of_steps)):
        if step:
            reached = of_steps[step].select("key").join_asof(reached, on="key", strategy="backward")
        in_time = reached.filter(pl.col("key") - pl.col("since") <= axis.window).select("since")
        latest = units.join_asof(in_time, left_on="end", right_on="since", strategy="backward", coalesce=False)
        best = latest.select(pl.when(pl.col("since") >= pl.col("begin")).then("since").otherwise(best)).to_series()
    return _at(of_steps[0], anchors.search_sorted(best, "right") - 1)
