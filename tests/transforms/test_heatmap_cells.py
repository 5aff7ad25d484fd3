"""The kernel that counts a heatmap's cells, beside a plain grouping."""

from __future__ import annotations

import random

import polars as pl
import pytest

from transforms.heatmap_cells import count

SCHEMA = {"cell": pl.Int64, "session_no": pl.Int64}


def plainly(samples: pl.DataFrame) -> pl.DataFrame:
    sessions = pl.col("session_no").drop_nulls().n_unique()
    return samples.group_by("cell").agg(raw_n=pl.len().cast(pl.Int64), session_n=sessions.cast(pl.Int64)).sort("cell")


@pytest.mark.parametrize("seed", range(60))
def test_each_cell_is_counted_whatever_lies_in_it(seed: int) -> None:
    luck = random.Random(seed)
    row_n, far, late = luck.choice([0, 1, 2, 5, 50, 400]), luck.choice([1, 2**50]), luck.choice([3, 10**12])
    rows = [
        # now and then in no session; far and late together need more bits than a number has
        (luck.choice([0, 1, 2, far]), luck.choice([None, 7, 8, luck.randint(7, 7 + late)]))
        for _ in range(row_n)
    ]
    samples = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    counted = count(samples)
    assert counted.rows() == plainly(samples).rows()
    assert counted.columns == ["cell", "raw_n", "session_n"]
