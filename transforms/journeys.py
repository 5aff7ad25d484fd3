"""Journeys: the ways that visits or people take through pages (meaning: A8 of the semantics)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from transforms.definitions import Journey, PageRule
from transforms.timeline import in_slices, lay_out, rows_where

EXIT, MORE = "(exit)", "(more)"
EDGES: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit_id": pl.Int64,
    "date": pl.Date,
    "step_no": pl.Int16,
    "from_node": pl.Categorical,
    "to_node": pl.Categorical,
    "seconds": pl.Float64,
}
PATHS: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit_id": pl.Int64,
    "date": pl.Date,
    "path": pl.String,
    "is_converted": pl.Boolean,
}


class Walked(NamedTuple):
    """edges: one row per unit and step; paths: one row per unit; left_out_n: units without start or end."""

    edges: pl.DataFrame
    paths: pl.DataFrame
    left_out_n: int


def clean(nodes: pl.Series, rules: Sequence[PageRule]) -> pl.Series:
    """Fold names by ordered globs (only * is special), each applied to the whole result of the one before.

    Give distinct names: every name is looked at in Python.
    """
    globs = [(_glob(rule.match), rule.as_) for rule in rules]
    folded = []
    for node in nodes.to_list():
        for glob, name in globs:
            if node is not None and glob.fullmatch(node):
                node = name
        folded.append(node)
    return pl.Series(nodes.name, folded, dtype=pl.String)


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def walk(nodes: pl.DataFrame, journey: Journey) -> Walked:
    """The path of every unit and its edges.

    `nodes`, sorted by (unit_id, at, the rest of the total order): unit_id Int64 (session; person for scope =
    person), date Date (of the session's start; scope = person: of the row), at Int64 µs, node String or
    Categorical (cleaned), is_start, is_end Boolean, converted_at Int64 µs (a key event of the unit at or after the row:
    the next one, or for sessions the last; null: none), is_open Boolean (the visit may go on; scope = person:
    at + window > H).

    Out: edges (columns EDGES; step_no from 1; seconds between the first times of both nodes, null to (exit)
    and (more)) and paths (columns PATHS; unit_id and date name a path).
    """
    # Numbers in place of texts, so that comparing and copying is cheap.
    nodes = nodes.with_columns(pl.col("node").cast(pl.Categorical))
    found = in_slices(_wanted(nodes, journey), "unit_id", lambda some: _walk_slice(some, journey))
    return Walked(
        pl.concat(walked.edges for walked in found),
        pl.concat(walked.paths for walked in found),
        sum(walked.left_out_n for walked in found),
    )


def _walk_slice(nodes: pl.DataFrame, journey: Journey) -> Walked:
    nothing = Walked(pl.DataFrame(schema=EDGES), pl.DataFrame(schema=PATHS), 0)
    nodes = nodes.rechunk()
    if nodes.is_empty():
        return nothing
    if journey.scope == "person":
        rows, left_out_n = _ways_of_persons(nodes, journey)
    else:
        rows, left_out_n = nodes.with_columns(way=pl.col("unit_id").rle_id(), until=pl.lit(None, pl.Int64)), 0
    if rows.is_empty():
        return nothing._replace(left_out_n=left_out_n)
    rows = _collapse(rows)
    ways, lost_n = _cut(rows, journey)
    if ways.is_empty():
        return nothing._replace(left_out_n=left_out_n + lost_n)
    steps = ways.with_columns(row=pl.int_ranges("begin", "stop", dtype=pl.UInt32)).explode("row")
    steps = steps.with_columns(
        rows["node"].gather(steps["row"]).alias("from_node"), rows["at"].gather(steps["row"]).alias("from_at")
    )
    return Walked(_edges(steps), _paths(ways, rows["node"], journey.max_steps), left_out_n + lost_n)


def _wanted(nodes: pl.DataFrame, journey: Journey) -> pl.DataFrame:
    if not journey.include and not journey.exclude:
        return nodes
    include, exclude = [_glob(one) for one in journey.include], [_glob(one) for one in journey.exclude]
    wanted = [
        name
        for name in nodes["node"].unique().cast(pl.String).to_list()
        if (not include or any(glob.fullmatch(name) for glob in include))
        and not any(glob.fullmatch(name) for glob in exclude)
    ]
    return nodes.filter(pl.col("node").is_in(pl.Series(wanted, dtype=pl.Categorical)))


def _ways_of_persons(nodes: pl.DataFrame, journey: Journey) -> tuple[pl.DataFrame, int]:
    """Each date's anchor with the rows within the window after it, or before it where only an end is set."""
    is_backward = journey.end is not None and journey.start is None
    is_anchor = pl.col("is_end") if is_backward else pl.col("is_start") | pl.lit(journey.start is None)
    found, way_n, unit_n = [], 0, nodes.select(pl.struct("unit_id", "date").n_unique()).item()
    for part in lay_out(nodes, margin_us=journey.window_us + 1):
        anchors = (
            part.with_row_index("row")
            .filter(is_anchor)
            .filter(
                (
                    (pl.col("unit_id") != pl.col("unit_id").shift()) | (pl.col("date") != pl.col("date").shift())
                ).fill_null(True)
            )
        )
        if is_backward:
            begin, stop = (
                part["key"].search_sorted(anchors["key"] - journey.window_us, "left"),
                anchors["row"] + 1,
            )
        else:
            begin, stop = (
                anchors["row"],
                part["key"].search_sorted(anchors["key"] + journey.window_us, "right"),
            )
        ways = anchors.select(
            "date",
            "is_open",
            anchor="row",
            way=pl.int_range(pl.len()) + way_n,
            until=pl.col("at") + (0 if is_backward else journey.window_us),
            row=pl.int_ranges(begin, stop, dtype=pl.UInt32),
        ).explode("row")
        rows = part[ways["row"]].drop("date", "is_open", "key")
        ways = ways.with_columns(is_anchor=pl.col("row") == pl.col("anchor")).drop("row", "anchor")
        rows = pl.concat([rows, ways], how="horizontal")
        if is_backward:
            rows = rows.with_columns(is_end=pl.col("is_anchor"))
        elif journey.start is not None:
            rows = rows.with_columns(is_start=pl.col("is_anchor"))
        found.append(rows)
        way_n += anchors.height
    return pl.concat(found), unit_n - way_n


def _collapse(rows: pl.DataFrame) -> pl.DataFrame:
    """Consecutive equal nodes of a way become the first; it starts or ends the way if one of them did."""
    is_first = rows.select(
        ((pl.col("way") != pl.col("way").shift()) | pl.col("node").ne_missing(pl.col("node").shift())).fill_null(True)
    ).to_series()
    begin = rows_where(is_first)
    stop = pl.concat([begin.slice(1), pl.Series([rows.height], dtype=pl.UInt32)])
    flags: list[pl.Series | pl.Expr] = []
    for name in ("is_start", "is_end"):
        marked = rows_where(rows[name])
        if marked.is_empty():
            flags.append(pl.lit(False).alias(name))
            continue
        ahead = pl.concat([marked, pl.Series([rows.height], dtype=pl.UInt32)])
        flags.append((ahead.gather(marked.search_sorted(begin, "left")) < stop).alias(name))
    return rows[begin].with_columns(flags)


def _cut(rows: pl.DataFrame, journey: Journey) -> tuple[pl.DataFrame, int]:
    """Where each way begins and stops, what comes after its last node, and how many have no start or end."""
    first = rows_where(rows.select((pl.col("way") != pl.col("way").shift()).fill_null(True)).to_series())
    last = pl.concat([first.slice(1), pl.Series([rows.height], dtype=pl.UInt32)])
    ways = pl.DataFrame({"begin": first, "stop": last})
    if journey.start is not None:
        ways = ways.with_columns(begin=_next_marked(rows["is_start"], ways["begin"]))
        ways = ways.filter(pl.col("begin") < pl.col("stop"))
    if journey.end is not None:
        # With a start, the end is a later node.
        after = ways["begin"] + (1 if journey.start is not None else 0)
        ways = ways.with_columns(end=_next_marked(rows["is_end"], after))
        ways = ways.filter(pl.col("end") < pl.col("stop")).with_columns(stop=pl.col("end") + 1)
    lost_n = first.len() - ways.height
    longest = pl.lit(journey.max_steps, pl.UInt32)
    is_long = pl.col("stop") - pl.col("begin") > longest
    if journey.end is not None and journey.start is None:
        ways = ways.select(
            "stop", begin=pl.when(is_long).then(pl.col("stop") - longest).otherwise("begin"), is_cut=False
        )
    else:
        ways = ways.select(
            "begin", stop=pl.when(is_long).then(pl.col("begin") + longest).otherwise("stop"), is_cut=is_long
        )
    head = rows[ways["begin"]]
    is_ended = pl.lit(journey.end is not None)
    ways = ways.with_columns(
        head["unit_id"], head["date"], head["is_open"], head["converted_at"], head["until"], head["at"]
    ).select(
        "unit_id",
        "date",
        "begin",
        "stop",
        last=pl.when("is_cut")
        .then(pl.lit(MORE, pl.Categorical))
        .when(~is_ended & ~pl.col("is_open"))
        .then(pl.lit(EXIT, pl.Categorical)),
        is_converted=(
            (pl.col("converted_at") >= pl.col("at"))
            & (pl.col("until").is_null() | (pl.col("converted_at") <= pl.col("until")))
        ).fill_null(False),
    )
    return ways, lost_n


def _next_marked(marks: pl.Series, after: pl.Series) -> pl.Series:
    """The first marked row at or after each of `after`; past all rows where there is none."""
    rows = rows_where(marks)
    ahead = pl.concat([rows, pl.Series([marks.len()], dtype=pl.UInt32)])
    return ahead.gather(rows.search_sorted(after, "left"))


def _edges(steps: pl.DataFrame) -> pl.DataFrame:
    is_last = pl.col("row") + 1 == pl.col("stop")
    return (
        steps.select(
            "unit_id",
            "date",
            (pl.col("row") - pl.col("begin") + 1).cast(pl.Int16).alias("step_no"),
            "from_node",
            pl.when(is_last).then("last").otherwise(pl.col("from_node").shift(-1)).alias("to_node"),
            pl.when(~is_last).then((pl.col("from_at").shift(-1) - pl.col("from_at")) / 1e6).alias("seconds"),
        )
        .filter(pl.col("to_node").is_not_null())
        .select(list(EDGES))
    )


def _paths(ways: pl.DataFrame, nodes: pl.Series, longest: int) -> pl.DataFrame:
    begin, stop = ways["begin"], ways["stop"]
    columns = [
        nodes.gather(pl.select(pl.when(begin + place < stop).then(begin + place)).to_series())
        .cast(pl.String)
        .alias(str(place))
        for place in range(min(longest, int(ways.select((pl.col("stop") - pl.col("begin")).max()).item())))
    ]
    path = pl.select(pl.concat_str(columns, separator=" > ", ignore_nulls=True)).to_series()
    return ways.with_columns(path=path).select(list(PATHS))
