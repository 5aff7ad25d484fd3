"""Sessions by the rule that began them, of the dates for which sessions are published."""

from __future__ import annotations

from typing import Any

from report.cube import bound, folded
from report.period import Period
from report.published import Published, Row

COLUMNS = "source date channel device is_bot is_open start_rule page_view_n duration_s is_engaged is_converted"
SUMS = ("session_n", "closed_n", "page_view_n", "duration_s", "engaged_n", "converted_n")


def read(published: Published, period: Period, cube: Row | None) -> Row | None:
    """People's sessions by date, source, channel, device and start_rule; None where no session is published.

    `rows` has [source, channel, device, rule, [day], [value]…]: indexes into the cube's lists and `rules`, days since
    `first`, one list for each name in `names`. duration_s are seconds in sum over sessions that are over.
    """
    if not cube:
        return None
    shown = {name: cube[f"{name}s"] for name in ("source", "channel", "device")}
    rows = published.rows(
        f"select date, {folded('source')} as source, {folded('channel')} as channel, {folded('device')} as device,"
        " start_rule, count(*) as session_n, count(*) filter (where not is_open) as closed_n,"
        " sum(page_view_n)::bigint as page_view_n,"
        " coalesce(round(sum(duration_s) filter (where not is_open)), 0)::bigint as duration_s,"
        " count(*) filter (where is_engaged and not is_open) as engaged_n,"
        " count(*) filter (where is_converted and not is_open) as converted_n"
        " from core.sessions where not is_bot and date between $since and $until"
        " group by all order by date, source, channel, device, start_rule",
        since=period.first,
        until=period.last,
        **bound(shown),
    )
    if not rows:
        return None
    first, rules = rows[0]["date"], sorted({row["start_rule"] for row in rows})
    found: dict[tuple[int, ...], list[list[Any]]] = {}
    for row in rows:
        place = (*(_index(shown[name], row[name]) for name in shown), rules.index(row["start_rule"]))
        lists = found.setdefault(place, [[] for _ in range(len(SUMS) + 1)])
        lists[0].append((row["date"] - first).days)
        for at, name in enumerate(SUMS, 1):
            lists[at].append(row[name])
    return {
        "first": first,
        "last": rows[-1]["date"],
        "rules": rules,
        "names": SUMS,
        "rows": [[*place, *lists] for place, lists in sorted(found.items())],
    }


def _index(values: list[str], value: str) -> int:
    return values.index(value) if value in values else len(values)
