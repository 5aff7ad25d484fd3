"""Sessions: where one visit of a device ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from transforms.definitions import DAY_US, Sessions


def cut(events: pl.DataFrame, rules: Sessions) -> pl.DataFrame:
    """Give each event the session that holds it.

    events: sorted by device and total order; columns device_id Int64, at Int64 (microseconds, UTC), event_no Int64,
    is_bearing Boolean, and what the rules that are on read: date (local), session_hint, campaign_key (any type; what
    a page's campaign is told apart by), is_page, user (the customer that the event names), is_manual (asks for a new
    session). Returns the same rows in the same order with session_no Int64 (event_no of the session's first event;
    null: in no session) and start_rule String (the first of the rules below that cut there; set on bearing events).

    gap: a bearing event more than `gap_us` after the one before begins a new run. cap: a run longer than `cap_us` is
    cut at every 00:00 UTC inside it. The others, in this order, look at bearing events only, and back no further than
    the last cut of those before them: midnight (another local date), client_id (another session_hint than the last
    one), campaign (a page of another campaign than the last one, or of the first one where pages came before),
    user_change (another customer than the last one), manual. An event that does not bear belongs to the latest session
    whose [start, end + gap] holds it.
    """
    device, at = pl.col("device_id"), pl.col("at")
    bearing = events.with_row_index("row").filter("is_bearing")
    is_run_start = (device != device.shift(1)).fill_null(True) | (at - at.shift(1) > rules.gap_us)
    runs = bearing.with_columns(is_run_start.alias("is_run_start"))
    is_run_end = pl.col("is_run_start").shift(-1, fill_value=True)
    runs = runs.with_columns(
        pl.when("is_run_start").then("at").forward_fill().alias("run_start"),
        pl.when(is_run_end).then("at").backward_fill().alias("run_end"),
    )
    is_long = pl.col("run_end") - pl.col("run_start") > rules.cap_us
    is_midnight = is_long & (at // DAY_US != at.shift(1) // DAY_US)
    runs = runs.with_columns(
        pl.when("is_run_start").then(pl.lit("gap")).when(is_midnight).then(pl.lit("cap")).alias("start_rule")
    )
    for name, is_cut in _further(rules):
        piece = pl.col("start_rule").is_not_null().cum_sum().alias("piece")
        runs = runs.with_columns(piece).with_columns(
            pl.coalesce("start_rule", pl.when(is_cut).then(pl.lit(name))).alias("start_rule")
        )
    is_start = pl.col("start_rule").is_not_null()
    cuts = runs.select(
        "row",
        pl.when(is_start).then("event_no").forward_fill().alias("session_no"),
        pl.col("start_rule").forward_fill(),
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


def _further(rules: Sessions) -> Iterator[tuple[str, pl.Expr]]:
    """The rules after gap and cap that are on: name, and whether it cuts at a bearing event of a `piece`."""
    if rules.cut_at_midnight:
        yield "midnight", pl.col("date") != pl.col("date").shift(1)
    if rules.cut_on_client_id:
        yield "client_id", _is_another("session_hint")
    if rules.cut_on_campaign:
        campaign = pl.when("is_page").then("campaign_key")
        is_first = campaign.is_not_null() & ~_came_before(campaign.is_not_null())
        yield "campaign", _is_another(campaign) | (is_first & _came_before(pl.col("is_page")))
    if rules.cut_on_user_change:
        yield "user_change", _is_another("user")
    if rules.cut_on_events:
        yield "manual", pl.col("is_manual")


def _is_another(value: str | pl.Expr) -> pl.Expr:
    """The value is known, and differs from the last known one of the piece."""
    told = pl.col(value) if isinstance(value, str) else value
    last = told.forward_fill().shift(1)
    return told.is_not_null() & _came_before(told.is_not_null()) & (told != last)


def _came_before(condition: pl.Expr) -> pl.Expr:
    """The condition held on an earlier row of the piece."""
    piece = pl.col("piece")
    return (pl.when(condition).then(piece).forward_fill().shift(1) == piece).fill_null(False)
