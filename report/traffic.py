"""Traffic: series for the overview, and sums by country."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from report.period import Period
from report.published import Published, Row

ALL = "(all)"
METRICS = (
    "visitor_n new_visitor_n session_n closed_session_n page_session_n engaged_session_n converted_session_n"
    " bounce_n page_view_n order_n revenue_amt session_s"
)
SUMS = "session_n closed_session_n page_session_n engaged_session_n converted_session_n bounce_n page_view_n order_n"
SHOWN_SOURCES = 12
SHOWN_COUNTRIES = 12


def sources(published: Published) -> list[str]:
    """`(all)` and then the sources with most sessions; a single source is only `(all)`."""
    found = published.rows(
        "select source from marts.traffic_totals where period = 'day' and not is_bot and source <> '(all)'"
        " group by source order by sum(session_n) desc, source"
    )
    names = [row["source"] for row in found][:SHOWN_SOURCES]
    return [ALL, *names] if len(names) > 1 else [ALL]


def overview(published: Published, period: Period) -> Row:
    """Human traffic by source: for every date, and for every week and month that touches the period.

    Dates without a row are zeros. A series is a list in the order of its `starts`; session seconds are sums.
    """
    days = [period.first + timedelta(days=n) for n in range((period.last - period.first).days + 1)]
    names = METRICS.split()
    series: dict[str, dict[str, Any]] = {}
    for source in sources(published):
        rows = published.rows(
            "select period, period_start, is_complete, visitor_n, new_visitor_n, session_n, closed_session_n,"
            " page_session_n, engaged_session_n, converted_session_n, bounce_n, page_view_n, order_n,"
            " revenue_amt::double as revenue_amt, (session_s * closed_session_n)::double as session_s"
            " from marts.traffic_totals where source = $source and not is_bot"
            " and period_start <= $until and case period when 'day' then period_start"
            "   when 'week' then period_start + 6 else last_day(period_start) end >= $since"
            " order by period_start",
            source=source,
            since=period.first,
            until=period.last,
        )
        by_date = {row["period_start"]: row for row in rows if row["period"] == "day"}
        grains: dict[str, Any] = {
            "day": {
                "starts": days,
                "is_complete": [period.complete is not None and day <= period.complete for day in days],
                **{name: [number(by_date.get(day, {}).get(name, 0)) for day in days] for name in names},
            }
        }
        for grain in ("week", "month"):
            chosen = [row for row in rows if row["period"] == grain]
            grains[grain] = {
                "starts": [row["period_start"] for row in chosen],
                "is_complete": [row["is_complete"] for row in chosen],
                **{name: [number(row[name]) for row in chosen] for name in names},
            }
        series[source] = grains
    return {"series": series}


def countries(published: Published, period: Period) -> Row:
    """Sums of the complete dates by country, for each range and the one before: `[source][range]` is a list of rows.

    Most sessions come first, the smallest are folded into `(other)`.
    """
    return {
        source: {
            choice.key: _compared(
                _sums(published, source, choice.since, choice.until),
                _sums(published, source, choice.before_since, choice.before_until),
            )
            for choice in period.ranges
        }
        for source in sources(published)
    }


def number(value: float | int | None) -> float | int | None:
    """Two decimals are enough to draw with, and keep the file small."""
    return round(value, 2) if isinstance(value, float) else value


def _sums(published: Published, source: str, since: date | None, until: date | None) -> list[Row]:
    if since is None or until is None:
        return []
    columns = ", ".join(f"sum({name})::bigint as {name}" for name in SUMS.split())
    return published.rows(
        f"select coalesce(country, '(none)') as value, {columns}, sum(revenue_amt)::double as revenue_amt"
        " from marts.traffic_daily"
        " where not is_bot and date between $since and $until and ($source = '(all)' or source = $source)"
        " group by 1 order by session_n desc, value",
        since=since,
        until=until,
        source=source,
    )


def _compared(now: list[Row], before: list[Row]) -> list[Row]:
    earlier = {row["value"]: row for row in before}
    found = [
        {
            **row,
            "revenue_amt": number(row["revenue_amt"]),
            "before_n": earlier.get(row["value"], {}).get("session_n", 0),
        }
        for row in now
    ]
    rest = found[SHOWN_COUNTRIES:]
    if rest:
        names = [*SUMS.split(), "revenue_amt", "before_n"]
        folded = {name: number(sum(row[name] or 0 for row in rest)) for name in names}
        return [*found[:SHOWN_COUNTRIES], {"value": "(other)", **folded}]
    return found
