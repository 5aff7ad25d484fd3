"""Sessions: where one visit of a device ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.definitions import DAY_US, Sessions
from transforms.timeline import in_slices

RULES = ("gap", "cap", "midnight", "client_id", "campaign", "user_change", "manual")
RULE = pl.Enum(RULES)


def cut(events: pl.DataFrame, rules: Sessions) -> pl.DataFrame:
    """Give each event the session that holds it.

    events: sorted by device and total order; columns device_id Int64, at Int64 (microseconds, UTC), event_no Int64,
    is_bearing Boolean, and what the rules that are on read: date (local), session_hint, campaign_key (any type; what
    a page's campaign is told apart by), is_page, user (the customer that the event names), is_manual (asks for a new
    session). Returns the same rows in the same order with session_no Int64 (event_no of the session's first event;
    null: in no session) and start_rule (Enum RULES: the first of the rules below that cut where the session begins).

    gap: a bearing event more than `gap_us` after the one before begins a new run. cap: a run longer than `cap_us` is
    cut at every 00:00 UTC inside it. The others, in this order, look at bearing events only, and back no further than
    the last cut of those before them: midnight (another local date), client_id (another session_hint than the last
    one), campaign (a page of another campaign than the last one, or of the first one where pages came before),
    user_change (another customer than the last one), manual. An event that does not bear belongs to the latest session
    whose [start, end + gap] holds it.
    """
    return pl.concat(in_slices(events, "device_id", lambda some: _cut_slice(some, rules)))


def _cut_slice(events: pl.DataFrame, rules: Sessions) -> pl.DataFrame:
    is_bearing = events["is_bearing"]
    bearing = events if is_bearing.all() else events.filter(is_bearing)
    cuts = _cut_bearing(bearing, rules)
    if bearing.height == events.height:
        return events.with_columns(cuts)
    # Tied events: one that does not bear may stand before the first bearing one of its own moment, so what it follows
    # is read at the last row of the moment.
    device, at = pl.col("device_id"), pl.col("at")
    is_moment_end = ((device != device.shift(-1)) | (at != at.shift(-1))).fill_null(True)
    places = events.select(
        own=pl.when("is_bearing").then(is_bearing.cum_sum() - 1),
        last=pl.when(is_moment_end).then(is_bearing.cum_sum()).backward_fill(),
    ).select("own", last=pl.when(pl.col("last") > 0).then(pl.col("last") - 1))
    # Where nothing came before, the last one is another device's: it does not count.
    since = events["at"] - bearing["at"].gather(places["last"])
    follows = (bearing["device_id"].gather(places["last"]) == events["device_id"]) & since.is_between(0, rules.gap_us)
    place = places.select(pl.coalesce("own", pl.when(follows).then("last"))).to_series()
    return events.with_columns(column.gather(place) for column in cuts)


def _cut_bearing(bearing: pl.DataFrame, rules: Sessions) -> list[pl.Series]:
    """session_no and start_rule of events all of which bear sessions."""
    device, at = bearing["device_id"].to_numpy(), bearing["at"].to_numpy()
    cuts = np.ones(len(at), dtype=np.uint8)  # 0: none, else a number in `told`
    cuts[1:] = (np.diff(at) > rules.gap_us) | (device[1:] != device[:-1])
    begin, length = _pieces(cuts)
    is_long = at[begin + length - 1] - at[begin] > rules.cap_us
    if is_long.any():
        day = at // DAY_US
        is_capped = is_long.repeat(length)[1:] & (day[1:] != day[:-1]) & (cuts[1:] == 0)
        cuts[1:][is_capped] = 2
        begin, length = _pieces(cuts)
    told = pl.Series("start_rule", [None, *RULES[:2]], dtype=RULE)
    further = list(_further(rules, bearing))
    if not further:
        session_no = pl.Series("session_no", bearing["event_no"].to_numpy()[begin].repeat(length))
        if not is_long.any():
            return [session_no, pl.repeat(told[1], bearing.height, dtype=RULE, eager=True).alias("start_rule")]
        return [session_no, told.gather(cuts[begin].repeat(length))]
    runs = bearing.with_columns(told.gather(cuts))
    for name, is_cut in further:
        piece = pl.col("start_rule").is_not_null().cum_sum().alias("piece")
        runs = runs.with_columns(piece).with_columns(
            start_rule=pl.coalesce("start_rule", pl.when(is_cut).then(pl.lit(name, RULE)))
        )
    is_start = pl.col("start_rule").is_not_null()
    return runs.select(
        session_no=pl.when(is_start).then("event_no").forward_fill(), start_rule=pl.col("start_rule").forward_fill()
    ).get_columns()


def _pieces(cuts: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where pieces begin, and how many rows each has."""
    begin = np.flatnonzero(cuts)
    return begin, np.diff(begin, append=len(cuts))


def _further(rules: Sessions, bearing: pl.DataFrame) -> Iterator[tuple[str, pl.Expr]]:
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
    if rules.cut_on_events and bearing["is_manual"].any():
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
