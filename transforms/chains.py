"""The walk along the steps of a funnel: for every anchor the chain of events that goes deepest.

Each finder takes one part of the time axis (timeline.lay_out; columns key, at, steps and unit_id), the rows
of the anchors in it, and gives one series of row numbers per step: the anchor, then the events reached, null
after the depth. Among the chains of greatest depth it reports the one that is earliest at e2, then e3, and so
on.

Two events are in order when the second is at most `slack` before the first and, by the same measure, not
before the anchor: 0 for ties "either", -1 µs for "strict", `either_within` where that is set.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from transforms.definitions import Funnel
from transforms.exact_chains import exact_chains
from transforms.timeline import rows_where

SESSION_CAP_US = 24 * 3600 * 1_000_000
ROW = pl.UInt32
_END = 2**63 - 1

Chain = list[pl.Series]
Finder = Callable[[pl.DataFrame, pl.Series, Funnel, int], Chain]


def window_us(funnel: Funnel) -> int:
    """W: how long after its anchor an attempt can go on, the tightest of the windows that are set."""
    limits = [SESSION_CAP_US] if funnel.unit == "session" else []
    if funnel.window_us is not None:
        limits.append(funnel.window_us)
    if funnel.step_window_us:
        limits.append(sum(step_windows(funnel) or ()))
    if not limits:
        raise ValueError(f'Funnel "{funnel.name}" has no window: set window or step_window.')
    return min(limits)


def step_windows(funnel: Funnel) -> tuple[int, ...] | None:
    """The greatest time from each step to the next, one value per step after the first."""
    windows = funnel.step_window_us
    if not windows:
        return None
    count = len(funnel.steps) - 1
    if len(windows) == 1:
        return windows * count
    if len(windows) != count:
        raise ValueError(f'Funnel "{funnel.name}" has {count} steps after the first but {len(windows)} step windows.')
    return windows


def has_step(part: pl.DataFrame, step: int) -> pl.Series:
    """Which rows match the step (from 0)."""
    return part.select((pl.col("steps") & (1 << step)) != 0).to_series()


def find_chains(part: pl.DataFrame, anchors: pl.Series, funnel: Funnel) -> Chain:
    """The chain of every anchor, by the quick walk of the funnel's order, or exactly where that may err."""
    slack = -1 if funnel.ties == "strict" else funnel.either_within_us if funnel.order == "ordered" else 0
    walk: Finder = {"ordered": _ordered, "strict": _strict, "any": _any}[funnel.order]
    kinds = _kinds_of_units(part, funnel, slack)
    if kinds is None or anchors.is_empty():
        return walk(part, anchors, funnel, slack)
    kind = kinds.gather(anchors)
    found = []
    for name in ("plain", "several", "exact"):
        mine = anchors.filter(kind == name)
        if mine.is_empty():
            continue
        if name == "exact":
            found.append(exact_chains(part, mine, funnel, slack, step_windows(funnel), window_us(funnel)))
        else:
            # No two events of these units tie, so "after" may mean later: no event then fills two steps.
            found.append(walk(part, mine, funnel, -1 if name == "several" else slack))
    return pl.concat([_frame(chain) for chain in found]).sort("row_0").get_columns()


def _frame(chain: Chain) -> pl.DataFrame:
    return pl.DataFrame({f"row_{step}": rows.cast(ROW) for step, rows in enumerate(chain)})


def _kinds_of_units(part: pl.DataFrame, funnel: Funnel, slack: int) -> pl.Series | None:
    """Per row the walk that is exact for its unit: plain, several (an event matches several steps), exact.

    None where the plain one serves all.
    """
    steps = pl.col("steps")
    several = (steps & (steps - 1)) != 0
    has_several = bool(part.select((several & (steps != 0)).any()).item())
    if funnel.order == "ordered":
        if slack < 0 or not (has_several or (slack > 0 and funnel.step_window_us)):
            return None
        is_exact = pl.col("near") if slack > 0 and funnel.step_window_us else pl.col("near") & pl.col("several")
    elif funnel.order == "strict":
        if slack < 0:
            return None
        is_exact = pl.col("near")
    else:
        if slack >= 0 and not has_several:
            return None
        is_exact = pl.col("several") | (pl.col("near") & pl.lit(slack < 0))
    rows = part.select("unit_id", "at", "steps", several=(steps != 0) & several)
    near = rows if funnel.order == "strict" else rows.filter(steps != 0)
    tie = (pl.col("unit_id") == pl.col("unit_id").shift()) & (pl.col("at") - pl.col("at").shift() <= max(slack, 0))
    units = (
        near.with_columns(near=tie.fill_null(False))
        .filter(pl.col("near") | pl.col("several"))
        .group_by("unit_id")
        .agg(pl.col("near").any(), pl.col("several").any())
        .select(
            "unit_id",
            kind=pl.when(is_exact)
            .then(pl.lit("exact"))
            .when(pl.col("several") & pl.lit(funnel.order == "ordered"))
            .then(pl.lit("several"))
            .otherwise(pl.lit("plain")),
        )
        .filter(pl.col("kind") != "plain")
    )
    if units.is_empty():
        return None
    return rows.join(units, on="unit_id", how="left", maintain_order="left")["kind"].fill_null("plain")


def _ordered(part: pl.DataFrame, anchors: pl.Series, funnel: Funnel, slack: int) -> Chain:
    """Without step windows the earliest next event is always right: one forward search a step.

    With them, for each depth m, events from which m cannot be reached are left out first (from the back),
    then the earliest next event is right again: two chains to m that cross can swap their tails.
    """
    columns = [has_step(part, step) for step in range(len(funnel.steps))]
    rows = [rows_where(column) for column in columns]
    keys = [part["key"].gather(row) for row in rows]
    begin = part["key"].gather(anchors)
    limit = begin + window_us(funnel)
    windows = step_windows(funnel)
    if windows is None:
        return [anchors, *map(_gather, rows[1:], _earliest(begin, keys, limit, slack))]
    chain = [anchors, *[pl.repeat(None, anchors.len(), dtype=ROW, eager=True)] * (len(funnel.steps) - 1)]
    for depth in range(2, len(funnel.steps) + 1):
        kept_keys, kept_rows = list(keys[:depth]), list(rows[:depth])
        for step in range(depth - 2, -1, -1):
            following = _search(kept_keys[step + 1], kept_keys[step + 1], kept_keys[step] - slack)
            is_kept = (following - kept_keys[step] <= windows[step]).fill_null(False)
            kept_keys[step], kept_rows[step] = (
                kept_keys[step].filter(is_kept),
                kept_rows[step].filter(is_kept),
            )
        can = anchors.is_in(kept_rows[0].implode())
        tried = [anchors, *map(_gather, kept_rows[1:], _earliest(begin, kept_keys, limit, slack))]
        done = can & tried[-1].is_not_null()
        chain = [new.zip_with(done, old) for new, old in zip(tried, chain[:depth], strict=True)] + chain[depth:]
    return chain


def _earliest(begin: pl.Series, keys: list[pl.Series], limit: pl.Series, slack: int) -> Chain:
    """From each anchor to the earliest event of the next step, and so on while within the limit.

    begin: the anchors' keys; keys: each step's, sorted. Gives for each step after the first the places in its keys.
    """
    chain, here = [], begin
    for of_step in keys[1:]:
        bound = pl.select(pl.when(here > begin).then(here).when(here <= begin).then(begin)).to_series() - slack
        place = _place(of_step, bound)
        key = _gather(of_step, place)
        inside = (key <= limit).fill_null(False)
        here = pl.select(pl.when(inside).then(key)).to_series()
        chain.append(pl.select(pl.when(inside).then(place)).to_series())
    return chain


def _place(keys: pl.Series, bound: pl.Series) -> pl.Series:
    """Where the first key at or after each bound stands; null for a null bound and after the last."""
    if keys.is_empty():
        return pl.repeat(None, bound.len(), dtype=ROW, eager=True)
    place = keys.search_sorted(bound, "left")
    return pl.select(pl.when(bound.is_not_null() & (place < keys.len())).then(place)).to_series()


def _gather(values: pl.Series, place: pl.Series) -> pl.Series:
    if values.is_empty():
        return pl.repeat(None, place.len(), dtype=values.dtype, eager=True).alias(values.name)
    return values.gather(place)


def _search(keys: pl.Series, values: pl.Series, bound: pl.Series) -> pl.Series:
    """The value that stands beside the first key at or after each bound, else null."""
    return _gather(values, _place(keys, bound))


def _strict(part: pl.DataFrame, anchors: pl.Series, funnel: Funnel, slack: int) -> Chain:
    """Neighbours in the frame are neighbours in the chain: look one row further for each step."""
    begin = part["key"].gather(anchors)
    limit, windows = begin + window_us(funnel), step_windows(funnel)
    chain, here = [anchors], begin
    is_on = pl.repeat(True, anchors.len(), dtype=pl.Boolean, eager=True)
    for step in range(1, len(funnel.steps)):
        following = anchors.cast(pl.Int64) + step
        following = pl.select(pl.when(following < part.height).then(following)).to_series().cast(ROW)
        key = part["key"].gather(following)
        is_on = is_on & has_step(part, step).gather(following) & (key <= limit) & (key >= here - slack)
        if windows:
            is_on = is_on & (key - here <= windows[step - 1])
        is_on, here = is_on.fill_null(False), key
        chain.append(pl.select(pl.when(is_on).then(following)).to_series())
    return chain


def _any(part: pl.DataFrame, anchors: pl.Series, funnel: Funnel, _slack: int) -> Chain:
    """Each event matches one step here, so a step is filled by its first event after the anchor."""
    begin = part["key"].gather(anchors)
    limit, windows = begin + window_us(funnel), step_windows(funnel)
    count = len(funnel.steps)
    filled = pl.DataFrame({"anchor": anchors.cast(pl.Int64)})
    for step in range(count):
        column = has_step(part, step)
        rows = rows_where(column)
        place = _place(part["key"].gather(rows), begin)
        inside = (_gather(part["key"].gather(rows), place) <= limit).fill_null(False)
        # The anchor fills its own step and stands first, also before an event of the same time.
        fill = pl.when(column.gather(anchors)).then(-1).when(inside).then(_gather(rows.cast(pl.Int64), place))
        filled = filled.with_columns(pl.select(fill.alias(f"row_{step}")).to_series())
    in_order = pl.concat_arr(f"row_{step}" for step in range(count)).arr.to_list().list.sort(nulls_last=True)
    ordered = filled.select(row=in_order)
    chain, here = [anchors], begin
    is_on = pl.repeat(True, anchors.len(), dtype=pl.Boolean, eager=True)
    for step in range(1, count):
        row = ordered["row"].list.get(step, null_on_oob=True).cast(ROW)
        key = part["key"].gather(row)
        if windows:
            is_on = (is_on & (key - here <= windows[step - 1])).fill_null(False)
        chain.append(pl.select(pl.when(is_on).then(row)).to_series())
        here = key
    return chain
