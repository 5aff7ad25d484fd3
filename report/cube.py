"""Human traffic by date, source, channel and device at once, so that a reader can filter by any of them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from report.period import Period
from report.published import Published, Row
from report.traffic import METRICS, SHOWN_SOURCES, number

COLUMNS = f"source date channel device is_bot {METRICS}"
VISITOR_COLUMNS = "date source channel device is_bot person_id"
OTHER = "(other)"
# how many channels and devices keep their name, tried in this order until the numbers fit into the page
DETAILS = ((20, 6), (12, 5), (8, 4), (5, 3), (3, 2), (1, 1))
MOST_ROWS = 36_000
MOST_COUNTS = 110_000
GRAINS = ("day", "week", "month")


def read(published: Published, period: Period) -> Row:
    """Sums for each date and combination with traffic, and distinct visitors for every choice of channel and device.

    `rows` has [source, channel, device, [day], [value]…]: indexes into `sources`, `channels`, `devices`, days since
    `first`, and one list for each name in `names`; session_s are seconds in sum. `visitors[grain]` has `starts` and
    `series`, by "source|channel|device" (index, or empty for all). The smallest values are folded into `(other)`.
    """
    first, last = period.first, period.last
    since = min(first - timedelta(days=first.weekday()), first.replace(day=1))
    sources, channels, devices = (_ranked(published, column, since, last) for column in ("source", "channel", "device"))
    sources = sources[:SHOWN_SOURCES] if len(sources) > 1 else sources
    has_visitors = published.lacks("core.visitor_days", VISITOR_COLUMNS) is None
    days = (last - since).days + 1
    for channel_n, device_n in DETAILS:
        shown: Row = {"source": sources, "channel": channels[:channel_n], "device": devices[:device_n]}
        rows = _rows(published, shown, since, last)
        choices = (len(sources) + 1) * (len(shown["channel"]) + 2) * (len(shown["device"]) + 2)
        if len(rows) <= MOST_ROWS and choices * days <= MOST_COUNTS * 8:
            break
    index = {column: {value: at for at, value in enumerate([*values, OTHER])} for column, values in shown.items()}
    found: dict[tuple[int, int, int], list[list[Any]]] = {}
    names = METRICS.split()[1:]
    for row in rows:
        place = (index["source"][row["source"]], index["channel"][row["channel"]], index["device"][row["device"]])
        lists = found.setdefault(place, [[] for _ in range(len(names) + 1)])
        lists[0].append((row["date"] - since).days)
        for at, name in enumerate(names, 1):
            value = row[name] or 0
            lists[at].append(round(value) if name == "session_s" else number(value))
    return {
        "first": since,
        "sources": sources,
        **{f"{column}s": _named(shown[column], {row[column] for row in rows}) for column in ("channel", "device")},
        "names": names,
        "rows": [[*place, *lists] for place, lists in sorted(found.items())],
        "visitors": {grain: _visitors(published, shown, index, grain, since, last) for grain in GRAINS}
        if has_visitors
        else None,
    }


def _named(shown: list[str], found: set[str]) -> list[str]:
    return [*shown, OTHER] if OTHER in found else shown


def _ranked(published: Published, column: str, since: date, until: date) -> list[str]:
    found = published.rows(
        f"select coalesce({column}, '(none)') as value from marts.traffic_daily"
        " where not is_bot and date between $since and $until group by 1 order by sum(session_n) desc, value",
        since=since,
        until=until,
    )
    return [row["value"] for row in found]


def folded(column: str) -> str:
    """SQL of a column of which only the bound `$<column>s` keep their name."""
    return (
        f"case when coalesce({column}, '(none)') in (select unnest(cast(${column}s as varchar[])))"
        f" then coalesce({column}, '(none)') else '{OTHER}' end"
    )


def bound(shown: Row) -> Row:
    """What `folded` columns bind, from the shown values by column."""
    return {f"{column}s": values for column, values in shown.items()}


def _rows(published: Published, shown: Row, since: date, until: date) -> list[Row]:
    sums = ", ".join(
        "coalesce(sum(session_s * closed_session_n), 0)::double as session_s"
        if name == "session_s"
        else f"sum({name})::double as {name}"
        if name == "revenue_amt"
        else f"sum({name})::bigint as {name}"
        for name in METRICS.split()[1:]
    )
    return published.rows(
        f"select date, {folded('source')} as source, {folded('channel')} as channel, {folded('device')} as device,"
        f" {sums} from marts.traffic_daily where not is_bot and date between $since and $until"
        " group by 1, 2, 3, 4 order by 1, 2, 3, 4",
        since=since,
        until=until,
        **bound(shown),
    )


def _visitors(
    published: Published, shown: Row, index: dict[str, dict[str, int]], grain: str, since: date, until: date
) -> Row:
    rows = published.rows(
        "with people as ("
        f"  select date_trunc('{grain}', date)::date as start, {folded('source')} as source,"
        f"    {folded('channel')} as channel, {folded('device')} as device, person_id"
        "  from core.visitor_days where not is_bot and date between $since and $until"
        ") select start, source, channel, device, count(distinct person_id) as visitor_n from people"
        " group by grouping sets ((start, channel), (start, device), (start, channel, device),"
        "   (start, source, channel), (start, source, device), (start, source, channel, device))"
        " order by start, source, channel, device",
        since=since,
        until=until,
        **bound(shown),
    )
    starts = sorted({row["start"] for row in rows})
    at = {start: place for place, start in enumerate(starts)}
    series: dict[str, list[int]] = {}
    for row in rows:
        key = "|".join(
            "" if row[column] is None else str(index[column][row[column]]) for column in ("source", "channel", "device")
        )
        series.setdefault(key, [0] * len(starts))[at[row["start"]]] = row["visitor_n"]
    return {"starts": starts, "series": series}
