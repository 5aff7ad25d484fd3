"""The ways of single visits through the pages, for a reader to choose where they start and end."""

from __future__ import annotations

from typing import Any

from report.cube import bound, folded
from report.period import Period
from report.published import Published, Row

EVENT_COLUMNS = "session_id event_id event_at is_page path"
SESSION_COLUMNS = "session_id source date channel device is_bot is_open is_converted"
OTHER = "(other)"
MOST_NODES = 40
MOST_STEPS = 12
MOST_ROWS = 14_000


def lacks(published: Published) -> str | None:
    """Why no way can be shown, as a sentence; None when the published file has what they need."""
    return published.lacks("core.events", EVENT_COLUMNS) or published.lacks("core.sessions", SESSION_COLUMNS)


def read(published: Published, period: Period, cube: Row | None) -> Row | None:
    """People's visits of the published last days by date, source, channel and device; None where there are none.

    `rows` has [source, channel, device, is it open, [node], is there more, [day], [visits], [converted]]: indexes into
    the cube's lists and `nodes`, days since `first`. Equal neighbours are one node, rare pages are `(other)`. A way of
    more than MOST_STEPS nodes is cut there. `visit_n` counts all visits with a page, `shown_n` those in `rows`: the
    commonest ways, where all would be too many.
    """
    if not cube:
        return None
    shown = {name: cube[f"{name}s"] for name in ("source", "channel", "device")}
    dates = {"since": period.first, "until": period.last}
    nodes = [
        row["path"]
        for row in published.rows(
            "select path from core.events where is_page and not is_bot and path is not null"
            " and date between $since and $until group by path order by count(*) desc, path limit $most",
            **dates,
            most=MOST_NODES,
        )
    ]
    rows = published.rows(
        "with seen as ("
        "  select session_id, event_at, event_id,"
        "    case when path in (select unnest($nodes::varchar[])) then path else $other end as node"
        "  from core.events where is_page and path is not null and session_id is not null"
        "), apart as ("
        "  select *, lag(node) over (partition by session_id order by event_at, event_id) as before from seen"
        "), ways as ("
        "  select session_id, list(node order by event_at, event_id) as way from apart"
        "  where node is distinct from before group by session_id"
        "), grouped as ("
        "  select s.date, s.is_open, w.way[:$steps] as steps, len(w.way) > $steps as has_more,"
        f"   {folded('source')} as source, {folded('channel')} as channel, {folded('device')} as device,"
        "    count(*) as visit_n, count(*) filter (where s.is_converted) as converted_n"
        "  from core.sessions as s inner join ways as w on s.session_id = w.session_id"
        "  where not s.is_bot and s.date between $since and $until group by all"
        ") select *, (sum(visit_n) over ())::bigint as all_n,"
        " sum(visit_n) over (partition by steps, has_more) as way_n from grouped"
        " order by way_n desc, steps, has_more, date, source, channel, device, is_open limit $rows",
        **dates,
        **bound(shown),
        nodes=nodes,
        other=OTHER,
        steps=MOST_STEPS,
        rows=MOST_ROWS,
    )
    if not rows:
        return None
    first = min(row["date"] for row in rows)
    place = {name: at for at, name in enumerate([*nodes, OTHER])}
    found: dict[tuple[Any, ...], list[list[Any]]] = {}
    for row in rows:
        who = tuple(_index(shown[name], row[name]) for name in shown)
        way = tuple(place[node] for node in row["steps"])
        lists = found.setdefault((*who, int(row["is_open"]), way, int(row["has_more"])), [[], [], []])
        lists[0].append((row["date"] - first).days)
        lists[1].append(row["visit_n"])
        lists[2].append(row["converted_n"])
    return {
        "first": first,
        "last": max(row["date"] for row in rows),
        "nodes": [*nodes, OTHER],
        "visit_n": rows[0]["all_n"],
        "shown_n": sum(row["visit_n"] for row in rows),
        "rows": [[*key, *lists] for key, lists in found.items()],
    }


def _index(values: list[str], value: str) -> int:
    return values.index(value) if value in values else len(values)
