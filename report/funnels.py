"""Funnels over several entry periods: sums of complete ones, and times from the attempts themselves."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from report.cube import bound, folded
from report.interval import wilson
from report.period import LENGTHS, LONGEST
from report.published import Published, Row

STEP_COLUMNS = (
    "funnel period period_start breakdown_value step_no step_name reached_n reached_n_to_date"
    " open_n excluded_n is_complete"
)
ATTEMPT_COLUMNS = "funnel period_start depth step_at is_excluded"
CELL_COLUMNS = f"{ATTEMPT_COLUMNS} breakdown_value source channel device next_node"
SHOWN_BREAKDOWNS = 12
SHOWN_NEXT = 10
MOST_CELLS = 16_000
# how long it took from the first step to the last, in seconds: each bin ends before the next edge
EDGES = (0, 60, 300, 900, 3600, 10_800, 43_200, 86_400, 259_200, 604_800, 1_209_600)
OTHER = "(other)"


def read(published: Published, until: date, cube: Row | None) -> list[Row]:
    """Every funnel with its steps, its ranges (newest complete entry periods up to `until`) and its trend.

    With the lists of `cube` come `cells`, what a filter needs: None where the attempts do not say it or are too many.
    """
    rows = published.rows(
        "select funnel, period, period_start, breakdown_value, step_no, step_name, reached_n,"
        " reached_n_to_date, open_n, excluded_n, is_complete from marts.funnel_steps"
        " where period_start <= $until order by funnel, period_start, breakdown_value, step_no",
        until=until,
    )
    names = sorted({row["funnel"] for row in rows})
    has_attempts = published.lacks("marts.funnel_attempts", ATTEMPT_COLUMNS) is None
    found = [_funnel(published, name, [row for row in rows if row["funnel"] == name], has_attempts) for name in names]
    has_cells = published.lacks("marts.funnel_attempts", CELL_COLUMNS) is None
    for funnel in found:
        starts = [start for start, *_ in funnel["trend"]]
        funnel["cells"] = _cells(published, funnel, starts, cube) if cube and has_cells and starts else None
    return found


def _funnel(published: Published, name: str, rows: list[Row], has_attempts: bool) -> Row:
    newest = max(row["period_start"] for row in rows)
    rows = [row for row in rows if row["period_start"] > newest - timedelta(days=LONGEST)]
    steps = {row["step_no"]: row["step_name"] for row in rows}
    complete = sorted({row["period_start"] for row in rows if row["is_complete"]})
    waiting = sorted({row["period_start"] for row in rows if not row["is_complete"]})
    open_n = sum(row["open_n"] or 0 for row in rows if row["step_no"] == 1 and not row["is_complete"])
    funnel: Row = {
        "name": name,
        "period": rows[0]["period"],
        "steps": [steps[number] for number in sorted(steps)],
        "open_periods": len(waiting),
        "open_since": waiting[0] if waiting else None,
        "open_n": open_n,
        "to_date": _reached([row for row in rows if not row["is_complete"]], sorted(steps), "reached_n_to_date"),
        "ranges": {},
        "trend": [],
    }
    if not complete:
        return funnel
    for key, days in {**LENGTHS, "all": None}.items():
        since = complete[0] if days is None else max(complete[0], complete[-1] - timedelta(days=days - 1))
        chosen = [row for row in rows if row["is_complete"] and row["period_start"] >= since]
        summary = _summary(chosen, sorted(steps))
        if has_attempts:
            summary.update(_times(published, name, since, complete[-1], sorted(steps)))
        before = [] if days is None else [
            row for row in rows
            if row["is_complete"] and since - timedelta(days=days) <= row["period_start"] < since
        ]  # fmt: skip
        is_whole = days is not None and complete[0] <= since - timedelta(days=days)
        summary["before_pct"] = _summary(before, sorted(steps))["overall_pct"][-1] if is_whole else None
        funnel["ranges"][key] = {"since": since, "until": complete[-1], **summary}
    for start in complete:
        reached = _reached([row for row in rows if row["period_start"] == start], sorted(steps), "reached_n")
        bounds = wilson(reached[-1], reached[0])
        funnel["trend"].append(
            [
                start,
                reached[0],
                reached[-1],
                *_rounded([_share(reached[-1], reached[0]), *(bounds or (None, None))]),
            ]
        )
    return funnel


def _summary(rows: list[Row], steps: list[int]) -> Row:
    reached = _reached(rows, steps, "reached_n")
    bounds = [wilson(n, reached[0]) or (None, None) for n in reached]
    # a period in which nobody entered stands under (all)
    values = sorted({row["breakdown_value"] for row in rows} - {"(all)"})
    broken = []
    for value in values:
        part = _reached([row for row in rows if row["breakdown_value"] == value], steps, "reached_n")
        broken.append(
            [
                value,
                part[0],
                part[-1],
                *_rounded([_share(part[-1], part[0]), *(wilson(part[-1], part[0]) or (None, None))]),
            ]
        )
    return {
        "period_n": len({row["period_start"] for row in rows}),
        "reached_n": reached,
        "step_pct": _rounded([None, *(_share(n, past) for past, n in pairwise(reached))]),
        "overall_pct": _rounded([_share(n, reached[0]) for n in reached]),
        "overall_lo": _rounded([low for low, _ in bounds]),
        "overall_hi": _rounded([high for _, high in bounds]),
        "excluded_n": sum(row["excluded_n"] or 0 for row in rows if row["step_no"] == 1),
        "breakdown": sorted(broken, key=lambda row: -row[1])[:SHOWN_BREAKDOWNS],
    }


def _reached(rows: list[Row], steps: list[int], column: str) -> list[int]:
    return [sum(row[column] or 0 for row in rows if row["step_no"] == step) for step in steps]


def _times(published: Published, funnel: str, since: date, until: date, steps: list[int]) -> Row:
    """Seconds from the first step and from the step before, over all attempts that reached the step."""
    found = {
        row["step_no"]: row
        for row in published.rows(
            "with reached as ("
            "  select unnest(generate_series(1, depth::bigint)) as step_no, step_at"
            "  from marts.funnel_attempts"
            "  where funnel = $funnel and period_start between $since and $until and not is_excluded"
            "), timed as ("
            "  select step_no, date_diff('microsecond', step_at[1], step_at[step_no]) / 1e6 as start_s,"
            "    case when step_no > 1"
            "      then date_diff('microsecond', step_at[step_no - 1], step_at[step_no]) / 1e6 end as prev_s"
            "  from reached"
            ") select step_no, quantile_cont(start_s, 0.5) as median_s, quantile_cont(start_s, 0.9) as p90_s,"
            "  quantile_cont(prev_s, 0.5) as prev_s from timed group by step_no",
            funnel=funnel,
            since=since,
            until=until,
        )
    }
    return {name: [found.get(step, {}).get(name) for step in steps] for name in ("median_s", "p90_s", "prev_s")}


def _cells(published: Published, funnel: Row, starts: list[date], cube: Row) -> Row | None:
    """Attempts of the complete periods by everything a reader may choose; None where they are too many.

    `groups` names the values of the breakdown. `rows` has [source, channel, device, group, [period], [attempts of depth
    1]…, [excluded]], `times` [source, channel, device, group, [period], [bin], [n]], `next` [source, channel, device,
    depth, node, [period], [n]]; period is a place in the trend, a bin one in `edges`, a node one in `nodes`.
    """
    shown = {name: cube[f"{name}s"] for name in ("source", "channel", "device")}
    count = len(funnel["steps"])
    values = {"funnel": funnel["name"], "since": starts[0], "until": starts[-1], "count": count, **bound(shown)}
    groups = [
        row["value"]
        for row in published.rows(
            "select breakdown_value as value from marts.funnel_attempts where funnel = $funnel"
            " and period_start between $since and $until group by 1 order by count(*) desc, 1",
            funnel=funnel["name"],
            since=starts[0],
            until=starts[-1],
        )
    ]
    nodes = [
        row["next_node"]
        for row in published.rows(
            "select next_node from marts.funnel_attempts where funnel = $funnel and next_node is not null"
            " and period_start between $since and $until"
            " group by 1 order by count(*) desc, 1 limit $most",
            funnel=funnel["name"],
            since=starts[0],
            until=starts[-1],
            most=SHOWN_NEXT + 1,
        )
    ]
    kept = groups[:SHOWN_BREAKDOWNS]
    base = (
        "with attempts as ("
        f"  select period_start, {folded('source')} as source, {folded('channel')} as channel,"
        f"    {folded('device')} as device,"
        "    case when breakdown_value in (select unnest($groups::varchar[]))"
        "      then breakdown_value else $other end as grp,"
        "    case when next_node in (select unnest($nodes::varchar[])) then next_node else $other end as node,"
        "    depth, is_excluded,"
        "    case when depth = $count then date_diff('microsecond', step_at[1], step_at[$count]) / 1e6 end as took_s"
        "  from marts.funnel_attempts where funnel = $funnel and period_start between $since and $until)"
    )
    values |= {"groups": kept, "nodes": nodes, "other": OTHER}
    place = {start: at for at, start in enumerate(starts)}
    index = {name: {value: at for at, value in enumerate([*shown[name], OTHER])} for name in shown}
    index["node"] = {value: at for at, value in enumerate([*nodes, OTHER])}
    index["grp"] = {value: at for at, value in enumerate([*kept, OTHER])}

    def ask(select: str, by: tuple[str, ...], lists: tuple[str, ...]) -> list[Any]:
        found: dict[tuple[Any, ...], list[list[Any]]] = {}
        for row in published.rows(f"{base} {select}", **values):
            if row["period_start"] not in place:
                continue
            key = tuple(index[name][row[name]] if name in index else row[name] for name in by)
            kept_lists = found.setdefault(key, [[] for _ in range(len(lists) + 1)])
            kept_lists[0].append(place[row["period_start"]])
            for at, name in enumerate(lists, 1):
                kept_lists[at].append(row[name])
        return [[*key, *kept_lists] for key, kept_lists in sorted(found.items())]

    depths = tuple(f"depth_{depth}" for depth in range(1, count + 1))
    whose = ("source", "channel", "device")
    counted = ", ".join(
        f"count(*) filter (where depth = {d + 1} and not is_excluded) as {n}" for d, n in enumerate(depths)
    )
    rows = ask(
        f"select period_start, source, channel, device, grp, {counted},"
        " count(*) filter (where is_excluded) as excluded_n from attempts"
        " group by all order by all",
        (*whose, "grp"),
        (*depths, "excluded_n"),
    )
    if sum(len(row[4]) for row in rows) > MOST_CELLS:
        return None
    bins = " ".join(f"when took_s < {edge} then {at}" for at, edge in enumerate(EDGES[1:]))
    return {
        "groups": [*kept, OTHER] if len(groups) > len(kept) else kept,
        "edges": EDGES,
        "nodes": [*nodes, OTHER],
        "rows": rows,
        "times": ask(
            f"select period_start, source, channel, device, grp, case {bins} else {len(EDGES) - 1} end as bin,"
            " count(*) as n from attempts where took_s is not null and not is_excluded"
            " group by all order by all",
            (*whose, "grp"),
            ("bin", "n"),
        ),
        "next": ask(
            "select period_start, source, channel, device, depth::integer as depth,"
            " node, count(*) as n from attempts where depth < $count and not is_excluded"
            " group by all order by all",
            (*whose, "depth", "node"),
            ("n",),
        ),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rounded(shares: list[float | None]) -> list[float | None]:
    return [None if share is None else round(share, 6) for share in shares]
