"""Funnels: who went how far along a list of steps, in what time (meaning: A7 of the semantics)."""

from __future__ import annotations

from itertools import chain

import polars as pl

from transforms.chains import ROW, Chain, find_chains, has_step, step_windows, window_us
from transforms.definitions import Funnel
from transforms.plain_chains import is_plain, plain_chains
from transforms.timeline import in_slices, lay_out, rows_where

SESSION_REACH_US = 24 * 3600 * 1_000_000 + 1_800_000_000
ATTEMPTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit_id": pl.Int64,
    "period_start": pl.Date,
    "entered_at": pl.Int64,
    "depth": pl.UInt8,
    "step_at": pl.List(pl.Int64),
    "breakdown_value": pl.String,
    "is_open": pl.Boolean,
    "is_excluded": pl.Boolean,
}


def complete_after_us(funnel: Funnel) -> int:
    """How long after the end of a period its rows are complete: W, or the reach of a session."""
    return SESSION_REACH_US if funnel.unit == "session" else window_us(funnel)


def needs_order(funnel: Funnel, carry: tuple[str, ...] = ()) -> bool:
    """Whether `attempts` reads the events in their total order: which of two tied ones counts may matter."""
    return bool(not is_plain(funnel) or funnel.breakdown or carry)


def attempts(events: pl.DataFrame, funnel: Funnel, *, horizon_us: int, carry: tuple[str, ...] = ()) -> pl.DataFrame:
    """One row per attempt, sorted by (unit_id, entered_at).

    `events`, sorted by (unit_id, at, the rest of the total order) where `needs_order` says so, else in any order:
    unit_id Int64 (person or session), at Int64 µs, period_start Date (of the entry period that holds the event; null:
    no attempt may begin here), steps UInt32 (bit i: matches step i + 1); where the funnel asks for them, excludes
    UInt32 (bit j: matches exclude j) and breakdown String. Events that match nothing may be left out; for order =
    strict all bearing events must be there, less strict_ignore.

    Out, columns ATTEMPTS: step_at holds one time (µs) per step of the reported chain, null after depth (for
    order = any: in the order in which steps were filled); is_open: later events can still make it deeper;
    is_excluded: an `exclude` event hit it, depth and step_at are those of the chain that was hit. For each name in
    `carry`, a further column of `events`, first_<name> and last_<name> are its values at the first and the last step.
    """
    in_order = needs_order(funnel, carry)
    plain = plain_chains(events, funnel, in_order=in_order) if is_plain(funnel) else None
    if plain is not None:
        return _report(events, plain, funnel, horizon_us, carry)
    if not in_order:
        events = events.sort("unit_id", "at")
    reach = window_us(funnel) + max(funnel.either_within_us, 0) + 2

    def walk(some: pl.DataFrame) -> list[pl.DataFrame]:
        return [
            _report(part, _chosen(part, funnel), funnel, horizon_us, carry) for part in lay_out(some, margin_us=reach)
        ]

    carried = {f"{end}_{name}": events.schema[name] for name in carry for end in ("first", "last")}
    found = chain.from_iterable(in_slices(events, "unit_id", walk))
    return pl.concat([pl.DataFrame(schema={**ATTEMPTS, **carried}), *found])


def _chosen(part: pl.DataFrame, funnel: Funnel) -> pl.DataFrame:
    """The attempts that count, with the rows and times (row_<step>, at_<step>) of their chains."""
    anchors = _anchors(part, funnel)
    count = len(funnel.steps)
    chains = find_chains(part, anchors, funnel)
    tried = pl.DataFrame({f"row_{step}": rows.cast(ROW) for step, rows in enumerate(chains)}).with_columns(
        unit_id=part["unit_id"].gather(anchors),
        period_start=part["period_start"].gather(anchors),
        depth=pl.sum_horizontal(pl.col(f"row_{step}").is_not_null() for step in range(count)).cast(pl.UInt8),
    )
    tried = tried.with_columns(hit=_hits(part, tried, funnel))
    chosen = _choose(part, tried, funnel)
    times = [part["at"].gather(chosen[f"row_{step}"]).alias(f"at_{step}") for step in range(count)]
    return chosen.with_columns(times)


def _report(
    events: pl.DataFrame, chosen: pl.DataFrame, funnel: Funnel, horizon_us: int, carry: tuple[str, ...]
) -> pl.DataFrame:
    """The chosen attempts as they are told; `events` hold the rows that their chains name."""
    count = len(funnel.steps)
    rows = [chosen[f"row_{step}"] for step in range(count)] if needs_order(funnel, carry) else []
    carried = [
        events[name].gather(row).alias(f"{end}_{name}")
        for name in carry
        for end, row in (("first", rows[0]), ("last", pl.select(pl.coalesce(rows[::-1])).to_series()))
    ]
    at = [f"at_{step}" for step in range(count)]
    return (
        chosen.with_columns(*carried, breakdown_value=_breakdown(events, rows, chosen.height, funnel))
        .with_columns(
            entered_at=pl.col("at_0"),
            depth=pl.sum_horizontal(pl.col(name).is_not_null() for name in at).cast(pl.UInt8),
            step_at=pl.concat_arr(at).arr.to_list(),
            is_excluded=pl.col("hit").is_not_null(),
        )
        .with_columns(
            is_open=(pl.col("entered_at") + window_us(funnel) > horizon_us)
            & (pl.col("depth") < count)
            & ~pl.col("is_excluded")
        )
        .select(*ATTEMPTS, *(values.name for values in carried))
    )


def _anchors(part: pl.DataFrame, funnel: Funnel) -> pl.Series:
    """Rows where an attempt may begin: the first of each period, or all where a later one may count."""
    is_anchor = part["steps"] != 0 if funnel.order == "any" else has_step(part, 0)
    is_anchor = is_anchor & part["period_start"].is_not_null()
    anchors = rows_where(is_anchor)
    if funnel.counting == "totals" or funnel.reentry == "optimized":
        return anchors
    return anchors.filter(_is_first_of_period(part.select("unit_id", "period_start")[anchors]))


def _is_first_of_period(frame: pl.DataFrame) -> pl.Series:
    unit, period = pl.col("unit_id"), pl.col("period_start")
    return frame.select(((unit != unit.shift()) | (period != period.shift())).fill_null(True)).to_series()


def _hits(part: pl.DataFrame, tried: pl.DataFrame, funnel: Funnel) -> pl.Series:
    """The row of the first exclude event that hits each chain, null for none.

    A hit lies later than e_from and earlier than e_to; where e_to is not reached, as long as the attempt
    could go on.
    """
    hit = pl.repeat(None, tried.height, dtype=ROW, eager=True)
    if not funnel.exclude:
        return hit
    windows = step_windows(funnel)
    key = [part["key"].gather(tried[f"row_{step}"]) for step in range(len(funnel.steps))]
    for number, exclude in enumerate(funnel.exclude):
        rows = rows_where(part.select((pl.col("excludes") & (1 << number)) != 0).to_series())
        if rows.is_empty():
            continue
        keys = part["key"].gather(rows)
        begin, end = key[exclude.from_ - 1], key[exclude.to - 1]
        deadline = key[0] + window_us(funnel)
        if windows:
            # The step window that runs when e_to is not reached is the one after the last step reached.
            runs_out = pl.coalesce(
                pl.when(key[step].is_not_null()).then(key[step] + windows[step])
                for step in range(len(windows) - 1, -1, -1)
            )
            deadline = pl.select(pl.min_horizontal(deadline, runs_out)).to_series()
        place = keys.search_sorted(begin + 1, "left")
        place = pl.select(pl.when(begin.is_not_null() & (place < keys.len())).then(place)).to_series()
        at = keys.gather(place)
        is_hit = pl.select(pl.when(end.is_not_null()).then(at < end).otherwise(at <= deadline)).to_series()
        row = pl.select(pl.when(is_hit).then(rows.gather(place))).to_series()
        hit = pl.select(pl.min_horizontal(hit, row)).to_series()
    return hit


def _choose(part: pl.DataFrame, tried: pl.DataFrame, funnel: Funnel) -> pl.DataFrame:
    """Of all chains tried, the attempts that count."""
    if funnel.counting == "totals":
        return tried[_totals(part, tried, funnel)]
    if funnel.reentry == "first":
        return tried
    # Un-hit before hit, then the deepest, then the latest.
    best = tried.with_columns(is_hit=pl.col("hit").is_not_null()).sort(
        ["unit_id", "period_start", "is_hit", "depth", "row_0"], descending=[False, False, False, True, True]
    )
    return best.filter(_is_first_of_period(best)).sort("row_0")


def _totals(part: pl.DataFrame, tried: pl.DataFrame, funnel: Funnel) -> pl.Series:
    """Numbers of the attempts met when each period is walked from its first anchor to the next that is free.

    All periods go forward together, one attempt a round.
    """
    anchors, keys = tried["row_0"], part["key"].gather(tried["row_0"])
    over = pl.select(
        pl.when(tried["hit"].is_not_null())
        .then(anchors.search_sorted(tried["hit"], "right"))
        .when(tried["depth"] == len(funnel.steps))
        .then(anchors.search_sorted(tried[f"row_{len(funnel.steps) - 1}"], "right"))
        .otherwise(keys.search_sorted(keys + window_us(funnel), "right"))
    ).to_series()
    number = pl.int_range(tried.height, dtype=ROW, eager=True)
    period = _is_first_of_period(tried).cum_sum()
    following = pl.select(pl.max_horizontal(over, number + 1)).to_series()
    walking = rows_where(_is_first_of_period(tried))
    met = [walking]
    while walking.len():
        ahead = following.gather(walking)
        is_inside = ahead < tried.height
        ahead, behind = ahead.filter(is_inside), walking.filter(is_inside)
        walking = ahead.filter(period.gather(ahead) == period.gather(behind)).cast(ROW)
        met.append(walking)
    return pl.concat(met).sort()


def _breakdown(events: pl.DataFrame, rows: Chain, count: int, funnel: Funnel) -> pl.Series:
    """The attempt's value: of the anchor, of the last step reached, of step k, or the first that is known."""
    if funnel.breakdown is None:
        return pl.repeat("(all)", count, dtype=pl.String, eager=True)
    where = funnel.breakdown_from
    if where == "first_step":
        values = events["breakdown"].gather(rows[0])
    elif where.startswith("step:"):
        values = events["breakdown"].gather(rows[int(where.removeprefix("step:")) - 1])
    elif where == "last_step":
        values = events["breakdown"].gather(pl.select(pl.coalesce(rows[::-1])).to_series())
    elif where == "first_touch":
        values = pl.select(pl.coalesce(events["breakdown"].gather(row) for row in rows)).to_series()
    else:
        raise ValueError(
            f'Funnel "{funnel.name}": breakdown_from = "{where}" is none of '
            "first_step, last_step, step:k and first_touch."
        )
    return values.fill_null("(none)")
