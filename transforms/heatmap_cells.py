"""Counting what lies in the cells of a heatmap: a sample's cell and session make one whole number; these are sorted."""

from __future__ import annotations

from typing import Final

import polars as pl

LARGEST: Final = 2**63 - 1


def count(samples: pl.DataFrame) -> pl.DataFrame:
    """What lies in each cell.

    In: one row per sample: cell (a whole number from 0), session (one from 1; 0: in none). Out: one row per cell, in
    their order: cell, raw_n (samples), session_n (distinct sessions).
    """
    most_cell, most_session = (most or 0 for most in samples.select(pl.all().max()).row(0))
    session_places = most_session + 1
    # 128 bits hold any sample; 64, which mostly do, are sorted in half the time.
    whole = pl.Int64() if (most_cell + 1) * session_places <= LARGEST else pl.Int128()
    ordered = samples.select((pl.col("cell").cast(whole) * session_places + pl.col("session")).sort()).to_series()
    # Where a session comes into a cell, and where, among these, a cell begins; lengths are counts.
    visit_at = (ordered != ordered.shift(1)).fill_null(True).arg_true()
    visits = ordered.gather(visit_at)
    cells = (visits // session_places).cast(pl.Int64)
    cell_at = (cells != cells.shift(1)).fill_null(True).arg_true()
    counted = pl.DataFrame(
        {
            "cell": cells.gather(cell_at),
            "raw_n": _lengths(visit_at.gather(cell_at), ordered.len()),
            "session_n": _lengths(cell_at, visits.len()),
            "first": visits.gather(cell_at),
        }
    )
    # Session 0, which is none, is the first of its cell.
    is_none = (pl.col("first") % session_places == 0).cast(pl.Int64)
    return counted.select("cell", "raw_n", session_n=pl.col("session_n") - is_none)


def _lengths(starts: pl.Series, end: int) -> pl.Series:
    """How far each start is from the next one, the last from `end`."""
    starts = starts.cast(pl.Int64)
    return starts.shift(-1, fill_value=end) - starts
