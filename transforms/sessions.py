"""Sessions: where one visit of a device ends and the next begins."""

from __future__ import annotations

import polars as pl

from transforms.definitions import DAY_US, Sessions


def cut(events: pl.DataFrame, rules: Sessions) -> pl.DataFrame:
    """Give each event the session that holds it.

    events: sorted by device and total order; columns device_id Int64, at Int64 (microseconds, UTC), event_no Int64,
    is_bearing Boolean. Returns the same rows in the same order with session_no Int64 (event_no of the session's first
    event; null: in no session) and start_rule String (gap or cap; set on bearing events).

    A bearing event more than `gap_us` after the one before begins a new run. A run longer than `cap_us` is cut at
    every 00:00 UTC inside it. An event that does not bear belongs to the session whose [start, end + gap] holds it.
    """
    device, at = pl.col("device_id"), pl.col("at")
    bearing = events.with_row_index("row").filter("is_bearing").select("row", "device_id", "at", "event_no")
    is_run_start = (device != device.shift(1)).fill_null(True) | (at - at.shift(1) > rules.gap_us)
    runs = bearing.with_columns(is_run_start.alias("is_run_start"))
    is_run_end = pl.col("is_run_start").shift(-1, fill_value=True)
    runs = runs.with_columns(
        pl.when("is_run_start").then("at").forward_fill().alias("run_start"),
        pl.when(is_run_end).then("at").backward_fill().alias("run_end"),
    )
    is_long = pl.col("run_end") - pl.col("run_start") > rules.cap_us
    is_midnight = is_long & (at // DAY_US != at.shift(1) // DAY_US)
    is_start = pl.col("is_run_start") | is_midnight
    cuts = runs.select(
        "row",
        pl.when(is_start).then("event_no").forward_fill().alias("session_no"),
        pl.when(is_start)
        .then(pl.when("is_run_start").then(pl.lit("gap")).otherwise(pl.lit("cap")))
        .forward_fill()
        .alias("start_rule"),
        at.alias("bearing_at"),
        device.alias("bearing_device"),
    )
    placed = events.with_row_index("row").join(cuts, on="row", how="left", maintain_order="left")
    if len(cuts) == len(placed):
        return placed.select(*events.columns, "session_no", "start_rule")
    # Tied events: one that does not bear may stand before the first bearing one of its own moment, so what it follows
    # is read at the last row of the moment.
    is_moment_end = ((device != device.shift(-1)) | (at != at.shift(-1))).fill_null(True)
    placed = placed.with_columns(
        pl.col("session_no", "start_rule", "bearing_at", "bearing_device").forward_fill().name.prefix("last_")
    ).with_columns(
        pl.when(is_moment_end)
        .then(pl.col("last_session_no", "last_start_rule", "last_bearing_at", "last_bearing_device"))
        .backward_fill()
    )
    # Where nothing came before, the fill brings what comes later: it does not count.
    since = at - pl.col("last_bearing_at")
    follows = (pl.col("last_bearing_device") == device) & since.is_between(0, rules.gap_us)
    return placed.select(
        *events.columns,
        pl.coalesce("session_no", pl.when(follows).then("last_session_no")).alias("session_no"),
        pl.coalesce("start_rule", pl.when(follows).then("last_start_rule")).alias("start_rule"),
    )
