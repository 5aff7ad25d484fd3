"""Counting what lies in the cells of a heatmap: a sample's cell and session make one whole number; these are sorted."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

BITS: Final = 63  # of a whole number that is not negative


def count(samples: pl.DataFrame) -> pl.DataFrame:
    """What lies in each cell.

    In: one row per sample: cell (Int64, from 0), session_no (Int64; null: in none). Out: one row per cell, in their
    order: cell, raw_n (samples), session_n (distinct sessions).
    """
    cell, session_no = samples["cell"].to_numpy(), samples["session_no"]
    least, most = (int(each or 0) for each in samples.select(pl.min("session_no"), most=pl.max("session_no")).row(0))
    session = (session_no - (least - 1)).fill_null(0).to_numpy()
    session_bits = (most - least + 1).bit_length()
    cells: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None
    if len(cell) and int(cell.max()).bit_length() + session_bits > BITS:
        cells, cell = np.unique(cell, return_inverse=True)
    ordered = (cell << session_bits) | session
    ordered.sort()
    # Where a session comes into a cell, and where, among these, a cell begins; lengths are counts.
    visit_at = _starts(ordered)
    visits = ordered[visit_at]
    visited = visits >> session_bits
    cell_at = _starts(visited)
    found = visited[cell_at]
    # Session 0, which is none, is the first of its cell.
    is_none = (visits[cell_at] & ((1 << session_bits) - 1)) == 0
    return pl.DataFrame(
        {
            "cell": found if cells is None else cells[found],
            "raw_n": np.diff(visit_at[cell_at], append=len(ordered)),
            "session_n": np.diff(cell_at, append=len(visits)) - is_none,
        }
    )


def _starts(ordered: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where another value begins than the one before."""
    is_start = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_start[1:])
    return np.flatnonzero(is_start)
