"""Counting what lies in the cells of a heatmap: a sample's cell and session make one whole number; these are sorted."""

from __future__ import annotations

from typing import Final

import polars as pl

LARGEST: Final = 2**63 - 1


def count(samples: pl.DataFrame) -> pl.DataFrame:
    """What lies in each cell.

    In: one row per sample: cell (a whole number from 0), session (one from 1; 0: in none), weight. Out: one row per
    cell: cell, event_n (sum of the weights), raw_n (samples), session_n (distinct sessions). Its order means nothing.
    """
    most_cell, most_session = (most or 0 for most in samples.select(pl.col("cell", "session").max()).row(0))
    session_places = most_session + 1
    # 128 bits hold any sample; 64, which mostly do, are sorted in half the time.
    whole = pl.Int64() if (most_cell + 1) * session_places <= LARGEST else pl.Int128()
    ordered = (
        samples.select(sample=pl.col("cell").cast(whole) * session_places + pl.col("session"))
        .sort("sample")
        .with_columns(
            cell=(pl.col("sample") // session_places).cast(pl.Int64),
            is_session=(pl.col("sample") != pl.col("sample").shift(1, fill_value=-1))
            & (pl.col("sample") % session_places != 0),
        )
        # Sessions up to this sample; where the next cell begins, or all ends, tells how many are of this one.
        .with_columns(before_n=pl.col("is_session").cum_sum().cast(pl.Int64) - pl.col("is_session"))
        .with_row_index("row_no")
    )
    session_n = int(ordered["is_session"].sum())
    counted = ordered.filter(pl.col("cell") != pl.col("cell").shift(1, fill_value=-1)).select(
        "cell",
        raw_n=pl.col("row_no").shift(-1, fill_value=ordered.height).cast(pl.Int64) - pl.col("row_no"),
        session_n=pl.col("before_n").shift(-1, fill_value=session_n) - pl.col("before_n"),
    )
    # Most samples stand for themselves alone: what the others add is counted apart.
    more = samples.filter(pl.col("weight") != 1).group_by("cell").agg(more_n=(pl.col("weight") - 1).sum())
    event_n = pl.col("raw_n").cast(pl.Float64)
    if more.height:
        counted = counted.join(more, on="cell", how="left")
        event_n += pl.col("more_n").fill_null(0)
    return counted.select("cell", event_n=event_n, raw_n="raw_n", session_n="session_n")
