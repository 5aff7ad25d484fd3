"""Journeys: the ways that visits or people take through pages (meaning: A8 of the semantics)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.definitions import Journey, PageRule
from transforms.timeline import in_slices, lay_out, side_by_side
from transforms.total_order import Numbers

EXIT, MORE = "(exit)", "(more)"
EDGES: dict[str, pl.DataType | type[pl.DataType]] = {
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


class Walked:
    """What `walk` found. left_out_n: units without start or end."""

    def __init__(self, slices: list[_Ways]) -> None:
        self._slices = slices
        self.left_out_n = sum(ways.left_out_n for ways in slices)

    @cached_property
    def edges(self) -> pl.DataFrame:
        """One row per unit and step, sorted by both, columns EDGES.

        step_no from 1; seconds between the first times of both nodes, null to (exit) and (more).
        """
        return pl.concat([pl.DataFrame(schema=EDGES), *side_by_side(_edges, self._slices)])

    @cached_property
    def paths(self) -> pl.DataFrame:
        """One row per unit, columns PATHS; unit_id and date name a path."""
        return pl.concat([pl.DataFrame(schema=PATHS), *side_by_side(_paths, self._slices)])


class _Ways(NamedTuple):
    """Ways through nodes that lie one after the other: a way is the nodes from `begin` up to `stop`.

    node: the names' numbers. of_way: a row per way with unit_id, date, is_converted, last (what comes after the last
    node, null: nothing).
    """

    node: npt.NDArray[np.uint32]
    at: Numbers
    begin: Numbers
    stop: Numbers
    of_way: pl.DataFrame
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
    """
    # Numbers in place of texts, so that comparing and copying is cheap.
    nodes = nodes.with_columns(pl.col("node").cast(pl.Categorical))
    return Walked(in_slices(_wanted(nodes, journey), "unit_id", lambda some: _walk_slice(some, journey)))


def _walk_slice(nodes: pl.DataFrame, journey: Journey) -> _Ways:
    left_out_n = 0
    nodes = nodes.rechunk()
    if journey.scope == "person" and not nodes.is_empty():
        nodes, left_out_n = _ways_of_persons(nodes, journey)
    else:
        nodes = nodes.with_columns(way="unit_id", until=pl.lit(None, pl.Int64))
    # Consecutive equal nodes of a way become the first.
    way, node = nodes["way"].to_numpy(), nodes["node"].to_physical().to_numpy()
    is_new = np.append(True, way[1:] != way[:-1])[: len(way)]
    is_first = is_new.copy()
    is_first[1:] |= node[1:] != node[:-1]
    row = np.flatnonzero(is_first)
    begin = np.flatnonzero(is_new[row])
    stop = np.append(begin[1:], len(row))[: len(begin)]
    way_n = len(begin)
    # A collapsed node starts or ends the way if one of its rows did.
    if journey.start is not None:
        begin = _next_marked(nodes["is_start"], row, begin)
        begin, stop = _where(begin < stop, begin, stop)
    if journey.end is not None:
        # With a start, the end is a later node.
        end = _next_marked(nodes["is_end"], row, begin + (1 if journey.start is not None else 0))
        begin, stop = _where(end < stop, begin, end + 1)
    left_out_n += way_n - len(begin)
    is_long = stop - begin > journey.max_steps
    if journey.end is not None and journey.start is None:
        begin = np.where(is_long, stop - journey.max_steps, begin)
        is_long[:] = False
    else:
        stop = np.where(is_long, begin + journey.max_steps, stop)
    of_way = _told(nodes[pl.Series(row[begin], dtype=pl.UInt32)], is_long, journey)
    return _Ways(node[is_first], nodes["at"].to_numpy()[is_first], begin, stop, of_way, left_out_n)


def _told(heads: pl.DataFrame, is_long: npt.NDArray[np.bool_], journey: Journey) -> pl.DataFrame:
    """What is told of each way, from its first row."""
    return heads.with_columns(is_long=is_long).select(
        "unit_id",
        "date",
        last=pl.when("is_long")
        .then(pl.lit(MORE, pl.Categorical))
        .when(pl.lit(journey.end is None) & ~pl.col("is_open"))
        .then(pl.lit(EXIT, pl.Categorical)),
        is_converted=(
            (pl.col("converted_at") >= pl.col("at"))
            & (pl.col("until").is_null() | (pl.col("converted_at") <= pl.col("until")))
        ).fill_null(False),
    )


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


def _next_marked(marks: pl.Series, row: Numbers, after: Numbers) -> Numbers:
    """The first collapsed node at or after each of `after` that holds a marked row; past all where there is none."""
    marked = np.searchsorted(row, np.flatnonzero(marks.to_numpy()), "right") - 1
    return np.append(marked, len(row))[np.searchsorted(marked, after, "left")]


def _where(mask: npt.NDArray[np.bool_], *columns: Numbers) -> list[Numbers]:
    return [column[mask] for column in columns]


def _edges(ways: _Ways) -> pl.DataFrame:
    last = ways.of_way["last"]
    is_ended = last.is_not_null().to_numpy()
    edge_n = ways.stop - ways.begin - 1 + is_ended
    stop = np.cumsum(edge_n)
    step_no = np.arange(1, edge_n.sum() + 1, dtype=np.uint32) - (stop - edge_n).astype(np.uint32).repeat(edge_n)
    end = stop[is_ended] - 1
    is_from = _within(ways.begin, edge_n, len(ways.node))
    to_node = np.append(ways.node[1:], np.uint32(0))[is_from]
    to_node[end] = last.drop_nulls().to_physical().to_numpy()
    seconds = np.diff(ways.at, append=0)[is_from] / 1e6
    seconds[end] = np.nan
    return pl.DataFrame(
        {
            "date": pl.Series(ways.of_way["date"].to_physical().to_numpy().repeat(edge_n)).cast(pl.Date),
            "step_no": step_no.astype(np.int16),
            "from_node": pl.Series(ways.node[is_from]).cat.to(pl.Categorical),
            "to_node": pl.Series(to_node).cat.to(pl.Categorical),
            "seconds": pl.Series(seconds, nan_to_null=True),
        }
    )


def _within(begin: Numbers, length: Numbers, count: int) -> npt.NDArray[np.bool_]:
    """Which of `count` rows lie in the ranges, which do not overlap."""
    begin, stop = _where(length > 0, begin, begin + length)
    depth = np.zeros(count + 1, np.int8)
    depth[begin] = 1
    depth[stop] -= 1
    return np.cumsum(depth, out=depth)[:-1].view(np.bool_)


def _paths(ways: _Ways) -> pl.DataFrame:
    nodes = pl.Series(ways.node).cat.to(pl.Categorical)
    begin, stop = pl.Series(ways.begin), pl.Series(ways.stop)
    columns = [
        nodes.gather(pl.select(pl.when(begin + place < stop).then(begin + place)).to_series())
        .cast(pl.String)
        .alias(str(place))
        for place in range(int((ways.stop - ways.begin).max(initial=1)))
    ]
    path = pl.select(pl.concat_str(columns, separator=" > ", ignore_nulls=True)).to_series()
    return ways.of_way.with_columns(path=path).select(list(PATHS))
