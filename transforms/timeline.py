"""One time axis for many units: laid end to end, so that one sorted search serves all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import polars as pl

_ROOM = float(2**61)
_WORTH_A_THREAD = 250_000  # rows

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_slices(frame: pl.DataFrame, unit: str, work: Callable[[pl.DataFrame], Result]) -> list[Result]:
    """What `work` makes of slices with whole units, side by side on the cores that Polars may use.

    `frame` is sorted by the column `unit`. Most of what a walk does goes along one column on one core.
    """
    count = worth_cores(frame.height)
    units = frame[unit]
    ends = [int(units.search_sorted(units[frame.height * number // count], "left")) for number in range(1, count)]
    bounds = zip([0, *ends], [*ends, frame.height], strict=True)
    return side_by_side(work, [frame.slice(begin, end - begin) for begin, end in bounds])


def worth_cores(rows: int) -> int:
    """On how many cores a walk over so many rows is worth its slices."""
    return max(1, min(pl.thread_pool_size(), rows // _WORTH_A_THREAD))


def side_by_side(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """What `work` makes of each piece, in a thread each; Polars leaves Python free while it computes."""
    if len(pieces) == 1:
        return [work(pieces[0])]
    with ThreadPoolExecutor(len(pieces)) as pool:
        return list(pool.map(work, pieces))


def lay_out(frame: pl.DataFrame, *, margin_us: int) -> Iterator[pl.DataFrame]:
    """Add `key` (Int64): the units' own times one after the other, `margin_us` or more between two units.

    `frame` has unit_id and at (Int64 microseconds) and is sorted by them. Within a unit, differences of keys
    are differences of times; a key of another unit is always further than `margin_us` away. The axis holds
    2^61 microseconds, so many units come in several parts, each with whole units; an empty frame gives no
    part.
    """
    if frame.is_empty():
        return
    frame = frame.rechunk()
    first = rows_where(frame.select((pl.col("unit_id") != pl.col("unit_id").shift()).fill_null(True)).to_series())
    last = pl.concat([first.slice(1), pl.Series([frame.height], dtype=first.dtype)]) - 1
    units = pl.DataFrame(
        {"row": first, "begin": frame["at"].gather(first), "end": frame["at"].gather(last)}
    ).with_columns(length=pl.col("end") - pl.col("begin") + margin_us + 1)
    # The sum may pass 2^63, so the cut into parts is made in floating point: it need not be exact.
    units = units.with_columns(part=(pl.col("length").cast(pl.Float64).cum_sum() / _ROOM).floor())
    for part in units.partition_by("part", maintain_order=True):
        rows = frame.slice(part["row"][0], last[-1] + 1 - part["row"][0])
        if part["row"][-1] != first[-1]:
            rows = rows.head(units["row"][int(first.search_sorted(part["row"][-1])) + 1] - part["row"][0])
        shift = part["length"].cum_sum().shift(1, fill_value=0) - part["begin"]
        yield rows.with_columns(key=pl.col("at") + shift.gather(rows["unit_id"].rle_id()))


def rows_where(mask: pl.Series) -> pl.Series:
    """The numbers of the rows that are true, UInt32 (several times quicker than arg_true)."""
    return pl.int_range(mask.len(), dtype=pl.UInt32, eager=True).filter(mask)
