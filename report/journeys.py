"""Journeys: a flow that fits on a page, and the paths most taken, for each range of dates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from report.period import Period, Range
from report.published import Published, Row

MOST_EDGES = 50
MOST_NODES = 7
MOST_PATHS = 15
SPECIAL = ("(exit)", "(more)")
OTHER = "(other)"


def read(published: Published, period: Period, limits: Mapping[str, tuple[int, int]]) -> list[Row]:
    """Every journey with its flow and its top paths in each range; `limits` as for page.write."""
    names = published.rows("select distinct journey from marts.journey_edges order by journey")
    has_paths = published.lacks("marts.journey_paths", "journey date path unit_n conversion_n") is None
    return [
        {
            "name": row["journey"],
            "ranges": {
                choice.key: {
                    "flow": flow(_edges(published, row["journey"], choice), *limits.get(row["journey"], ())),
                    **(_paths(published, row["journey"], choice) if has_paths else {"paths": [], "path_n": 0}),
                }
                for choice in period.ranges
            },
        }
        for row in names
    ]


def flow(edges: list[Row], most_edges: int = MOST_EDGES, least: int = 1) -> Row:
    """At most `most_edges`, where one node a step allows it: in each step the smallest nodes, and those of fewer than
    `least` units, become `(other)`, so no unit is left out.

    Comes out as `nodes` [[step, name, unit_n, nodes folded into it]] and `edges` [[from index, to index,
    unit_n, seconds]]. Seconds are the dates' medians averaged by units, None for `(exit)`; `edge_n` counts
    the edges before folding.
    """
    for most in range(MOST_NODES, 0, -1):
        folded = _folded(edges, most, least)
        if len(folded["edges"]) <= most_edges:
            break
    return folded


def _folded(edges: list[Row], most: int, least: int) -> Row:
    weight: dict[tuple[int, str], int] = defaultdict(int)
    for edge in edges:
        # a node weighs what flows in; at the first step, what flows out
        weight[edge["step_no"] + 1, edge["to_node"]] += edge["unit_n"]
        weight[edge["step_no"], edge["from_node"]] += edge["unit_n"] if edge["step_no"] == 1 else 0
    kept: dict[tuple[int, str], str] = {}
    folded_n: dict[int, int] = defaultdict(int)
    for step in {step for step, _ in weight}:
        plain = sorted(
            (name for at, name in weight if at == step and name not in SPECIAL),
            key=lambda name: (-weight[step, name], name),
        )
        heavy_n = sum(weight[step, name] >= least for name in plain)
        # one node alone is shown by its name, not as "other"
        limit = heavy_n if heavy_n <= most + (heavy_n == len(plain)) else most
        folded_n[step] = len(plain) - limit
        kept |= {(step, name): name if rank < limit else OTHER for rank, name in enumerate(plain)}
        kept |= {(step, name): name for name in SPECIAL if (step, name) in weight}
    units: dict[tuple[int, str], int] = defaultdict(int)
    for (step, name), n in weight.items():
        units[step, kept[step, name]] += n
    order = sorted(units, key=lambda node: (node[0], _rank(node[1]), -units[node], node[1]))
    index = {node: position for position, node in enumerate(order)}
    merged: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0, 0.0, 0])
    for edge in edges:
        start, end = (edge["step_no"], edge["from_node"]), (edge["step_no"] + 1, edge["to_node"])
        link = merged[index[start[0], kept[start]], index[end[0], kept[end]]]
        link[0] += edge["unit_n"]
        if edge["timed_n"]:
            link[1] += edge["weighted_s"]
            link[2] += edge["timed_n"]
    return {
        "nodes": [[step, name, units[step, name], folded_n[step] if name == OTHER else 0] for step, name in order],
        "edges": [
            [a, b, int(n), round(seconds / timed, 1) if timed else None]
            for (a, b), (n, seconds, timed) in sorted(merged.items())
        ],
        "edge_n": len(edges),
    }


def _rank(name: str) -> int:
    return {OTHER: 1, "(more)": 2, "(exit)": 3}.get(name, 0)


def _edges(published: Published, journey: str, choice: Range) -> list[Row]:
    return published.rows(
        "select step_no, from_node, to_node, sum(unit_n)::bigint as unit_n,"
        " sum(unit_n * median_s)::double as weighted_s,"
        " coalesce(sum(unit_n) filter (where median_s is not null), 0)::bigint as timed_n"
        " from marts.journey_edges where journey = $journey and date between $since and $until"
        " group by step_no, from_node, to_node having sum(unit_n) > 0"
        " order by step_no, unit_n desc, from_node, to_node",
        journey=journey,
        since=choice.since,
        until=choice.until,
    )


def _paths(published: Published, journey: str, choice: Range) -> Row:
    found = published.rows(
        "select path, sum(unit_n)::bigint as unit_n, sum(conversion_n)::bigint as conversion_n,"
        " sum(sum(unit_n)) over ()::bigint as all_n, count(*) over () as path_n"
        " from marts.journey_paths where journey = $journey and date between $since and $until"
        " group by path order by unit_n desc, path limit $most",
        journey=journey,
        since=choice.since,
        until=choice.until,
        most=MOST_PATHS,
    )
    return {
        "paths": [[row["path"], row["unit_n"], row["conversion_n"]] for row in found],
        "path_n": found[0]["path_n"] if found else 0,
        "unit_n": found[0]["all_n"] if found else 0,
    }
