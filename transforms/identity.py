"""Identity: which customer an event of a device belongs to."""

from __future__ import annotations

import polars as pl

from transforms.definitions import Identity


def own(events: pl.DataFrame, rules: Identity) -> pl.DataFrame:
    """Give each event its person.

    events: sorted by device and total order; columns device_id Int64, at Int64 (microseconds, UTC), user Int64 (the
    customer that the event itself names, null: none), edge Int64 (the customer that this row ties to the device:
    `user`, or on a row that only an alias call brought; null: none), is_shared Boolean (too many customers use the
    device). Returns the same rows in the same order with person_id Int64 and owner_rule String.

    The person is the event's own customer; else the customer of the next edge of its device, at most `stitch_us`
    later; else of the edge before, at most `stitch_us` earlier; else the device itself.
    """
    device, at = pl.col("device_id"), pl.col("at")
    has_edge = pl.col("edge").is_not_null()
    walked = events.with_columns(
        pl.when(has_edge).then(pl.col("edge")).backward_fill().alias("next"),
        pl.when(has_edge).then(at).backward_fill().alias("next_at"),
        pl.when(has_edge).then(device).backward_fill().alias("next_device"),
        pl.when(has_edge).then(pl.col("edge")).forward_fill().alias("previous"),
        pl.when(has_edge).then(at).forward_fill().alias("previous_at"),
        pl.when(has_edge).then(device).forward_fill().alias("previous_device"),
    )
    is_own = pl.col("user").is_not_null()
    is_next = (pl.col("next_device") == device) & (pl.col("next_at") - at <= rules.stitch_us)
    is_previous = (pl.col("previous_device") == device) & (at - pl.col("previous_at") <= rules.stitch_us)
    return walked.select(
        *events.columns,
        pl.when(is_own)
        .then("user")
        .when("is_shared")
        .then("device_id")
        .when(is_next)
        .then("next")
        .when(is_previous)
        .then("previous")
        .otherwise("device_id")
        .alias("person_id"),
        pl.when(is_own)
        .then(pl.lit("own"))
        .when("is_shared")
        .then(pl.lit("shared"))
        .when(is_next)
        .then(pl.lit("next"))
        .when(is_previous)
        .then(pl.lit("previous"))
        .otherwise(pl.lit("device"))
        .alias("owner_rule"),
    )
