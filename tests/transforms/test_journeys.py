"""Journeys against a plain walk, and cases out of the text of A8."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.definitions import Journey, PageRule, Step
from transforms.journeys import EDGES, PATHS, Walked, clean, walk
from warehouse import open_warehouse

FIRST = date(2026, 3, 1)
HOUR = 3_600_000_000


class Node(NamedTuple):
    unit_id: int
    at: int
    node: str
    is_start: bool = False
    is_end: bool = False
    converted_at: int | None = None
    is_open: bool = False
    date: date = FIRST


def frame(nodes: list[Node]) -> pl.DataFrame:
    return pl.DataFrame(
        [node._asdict() for node in nodes],
        schema={
            "unit_id": pl.Int64,
            "at": pl.Int64,
            "node": pl.String,
            "is_start": pl.Boolean,
            "is_end": pl.Boolean,
            "converted_at": pl.Int64,
            "is_open": pl.Boolean,
            "date": pl.Date,
        },
    )


def visit(names: str, **more: Any) -> list[Node]:
    """One session with a node a letter, one second apart; `a` is the start page, `z` the goal."""
    return [Node(1, second * 1_000_000, name, name == "a", name == "z", **more) for second, name in enumerate(names)]


def edges(walked: Walked) -> list[tuple[int, str, str]]:
    return [(row[1], row[2], row[3]) for row in walked.edges.rows()]


START, END = Step(page="a"), Step(page="z")


def test_default_path_begins_at_the_first_node_and_ends_in_exit() -> None:
    walked = walk(frame(visit("bcc")), Journey("j"))
    assert edges(walked) == [(1, "b", "c"), (2, "c", "(exit)")]
    assert walked.edges["seconds"].to_list() == [1.0, None]
    assert walked.paths["path"].to_list() == ["b > c"]


def test_path_cut_by_max_steps_is_no_drop_off() -> None:
    assert edges(walk(frame(visit("bcde")), Journey("j", max_steps=3))) == [
        (1, "b", "c"),
        (2, "c", "d"),
        (3, "d", "(more)"),
    ]
    # As many nodes as max_steps and no more: the visit did end there.
    assert edges(walk(frame(visit("bcd")), Journey("j", max_steps=3)))[-1] == (3, "d", "(exit)")


def test_open_session_has_no_exit() -> None:
    assert edges(walk(frame(visit("bc", is_open=True)), Journey("j"))) == [(1, "b", "c")]


def test_start_drops_what_came_before_and_counts_who_lacks_it() -> None:
    nodes = frame(visit("bbac") + [node._replace(unit_id=2) for node in visit("bc")])
    walked = walk(nodes, Journey("j", start=START))
    assert walked.paths["path"].to_list() == ["a > c"]
    assert walked.left_out_n == 1


def test_end_keeps_the_last_nodes_up_to_its_first_occurrence() -> None:
    walked = walk(frame(visit("abcdzez")), Journey("j", end=END, max_steps=3))
    assert walked.paths["path"].to_list() == ["c > d > z"]
    assert edges(walked) == [(1, "c", "d"), (2, "d", "z")]


def test_start_and_end_take_the_first_end_after_the_first_start() -> None:
    walked = walk(frame(visit("zabazc")), Journey("j", start=START, end=END))
    assert walked.paths["path"].to_list() == ["a > b > a > z"]


def test_conversion_counts_only_at_or_after_the_first_node() -> None:
    # The last key event of the visit was 2 s after its begin, on its third node.
    assert walk(frame(visit("bca", converted_at=2_000_000)), Journey("j", start=START)).paths["is_converted"][0]
    assert not walk(frame(visit("bbca", converted_at=2_000_000)), Journey("j", start=START)).paths["is_converted"][0]


def test_included_and_excluded_nodes_go_before_equal_neighbours_collapse() -> None:
    walked = walk(frame(visit("bxbcd")), Journey("j", exclude=("x",), include=("b", "x", "c")))
    assert walked.paths["path"].to_list() == ["b > c"]


def test_person_scope_has_one_path_per_person_and_date_within_the_window() -> None:
    next_day = FIRST + timedelta(days=1)
    nodes = [
        Node(1, 0, "b"),
        Node(1, 20 * HOUR, "a", is_start=True),
        Node(1, 30 * HOUR, "a", is_start=True, date=next_day),
        Node(1, 44 * HOUR, "c", date=next_day),
        Node(1, 45 * HOUR, "d", date=next_day),
    ]
    walked = walk(frame(nodes), Journey("j", start=START, scope="person", window_us=24 * HOUR))
    # The window of the first day's path ends, inclusively, at 44 h; in it the second "a" collapses.
    assert walked.paths.rows() == [(1, FIRST, "a > c", False), (1, next_day, "a > c > d", False)]
    back = Journey("j", end=END, scope="person", window_us=24 * HOUR)
    goal = [*nodes, Node(1, 54 * HOUR, "z", is_end=True, date=FIRST + timedelta(days=2))]
    walked = walk(frame(goal), back)
    assert walked.paths.rows() == [(1, FIRST + timedelta(days=2), "a > c > d > z", False)]
    assert walked.left_out_n == 2


def test_clean_applies_each_rule_to_the_whole_result_of_the_one_before() -> None:
    rules = (PageRule("/help/*", "/help"), PageRule("/help", "help"), PageRule("/a.c", "no"))
    names = clean(pl.Series("path", ["/help/x/y", "/helper", "/abc"]), rules)
    assert names.to_list() == ["help", "/helper", "/abc"]


def test_tables_count_units_and_take_medians() -> None:
    nodes = visit("bc", converted_at=0) + [node._replace(unit_id=2, at=node.at * 4) for node in visit("bc")]
    walked = walk(frame(nodes), Journey("j"))
    warehouse = open_warehouse(None)
    with warehouse.frames(walked_edges=walked.edges, walked_paths=walked.paths):
        warehouse.insert("marts.journey_edges", {"journey": "j"})
        warehouse.insert("marts.journey_paths", {"journey": "j"})
    assert warehouse.execute("select * from marts.journey_edges order by step_no") == [
        ("j", FIRST, 1, "b", "c", 2, 2.5),
        ("j", FIRST, 2, "c", "(exit)", 2, None),
    ]
    assert warehouse.execute("select * from marts.journey_paths") == [("j", FIRST, "b > c", 2, 1)]


# The oracle: lists, one unit at a time.


def folded(nodes: list[Node]) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        if found and found[-1].node == node.node:
            same = found[-1]
            found[-1] = same._replace(is_start=same.is_start or node.is_start, is_end=same.is_end or node.is_end)
        else:
            found.append(node)
    return found


def one_way(nodes: list[Node], journey: Journey, until: int | None) -> tuple[Any, ...] | None:
    way, last = folded(nodes), None
    if journey.start:
        starts = [place for place, node in enumerate(way) if node.is_start]
        if not starts:
            return None
        way = way[starts[0] :]
    if journey.end:
        ends = [place for place, node in enumerate(way) if node.is_end and (place > 0 or not journey.start)]
        if not ends:
            return None
        way = way[: ends[0] + 1]
    elif not way[0].is_open:
        last = "(exit)"
    if len(way) > journey.max_steps:
        if journey.end and not journey.start:
            way = way[-journey.max_steps :]
        else:
            way, last = way[: journey.max_steps], "(more)"
    found = [
        (number, here.node, there.node, (there.at - here.at) / 1e6)
        for number, (here, there) in enumerate(pairwise(way), 1)
    ]
    if last:
        found.append((len(way), way[-1].node, last, None))
    key = way[0].converted_at
    is_converted = key is not None and way[0].at <= key and (until is None or key <= until)
    return found, " > ".join(node.node for node in way), is_converted


def naive(nodes: list[Node], journey: Journey) -> tuple[list[Any], list[Any], int]:
    all_edges, all_paths, left_out = [], [], 0
    for unit in sorted({node.unit_id for node in nodes}):
        mine = [node for node in nodes if node.unit_id == unit]
        ways: list[tuple[date, list[Node], int | None]] = []
        if journey.scope == "session":
            ways = [(mine[0].date, mine, None)]
        else:
            for day in sorted({node.date for node in mine}):
                backward = journey.end and not journey.start
                anchors = [
                    place
                    for place, node in enumerate(mine)
                    if node.date == day and (node.is_end if backward else node.is_start or not journey.start)
                ]
                if not anchors:
                    left_out += 1
                    continue
                place, at = anchors[0], mine[anchors[0]].at
                if backward:
                    way = [node._replace(is_end=False) for node in mine[:place] if node.at >= at - journey.window_us]
                    ways.append((day, [*way, mine[place]], at))
                else:
                    way = [node for node in mine[place:] if node.at <= at + journey.window_us]
                    way = [node._replace(is_open=mine[place].is_open) for node in way]
                    ways.append((day, way, at + journey.window_us))
        for day, way, until in ways:
            found = one_way(way, journey, until)
            if found is None:
                left_out += 1
                continue
            all_edges += [(day, *edge) for edge in found[0]]
            all_paths.append((unit, day, found[1], found[2]))
    return all_edges, all_paths, left_out


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_walk_equals_plain_walk(data: st.DataObject) -> None:
    scope = data.draw(st.sampled_from(["session", "person"]))
    nodes = []
    for unit in range(data.draw(st.integers(0, 3))):
        is_open = data.draw(st.booleans())
        for at in sorted(data.draw(st.lists(st.integers(0, 30), max_size=8))):
            name = data.draw(st.sampled_from("aabczz"))
            flags = [data.draw(st.booleans()) if data.draw(st.integers(0, 9)) == 0 else name == one for one in "az"]
            key = (
                data.draw(st.none() | st.integers(at, 40)) if scope == "person" else data.draw(st.none() | st.just(15))
            )
            day = FIRST + timedelta(days=at // 10) if scope == "person" else FIRST
            nodes.append(Node(unit, at, name, flags[0], flags[1], key, is_open, day))
    journey = Journey(
        "j",
        start=data.draw(st.sampled_from([None, START])),
        end=data.draw(st.sampled_from([None, END])),
        max_steps=data.draw(st.integers(1, 5)),
        scope=scope,
        window_us=data.draw(st.integers(0, 25)),
    )
    found = walk(frame(nodes), journey)
    assert (dict(found.edges.schema), dict(found.paths.schema)) == (EDGES, PATHS)
    edges_found, paths, left_out_n = naive(nodes, journey)
    assert found.edges.drop("seconds").rows() == [edge[:-1] for edge in edges_found]
    assert found.edges["seconds"].to_list() == [
        None if edge[-1] is None else pytest.approx(edge[-1]) for edge in edges_found
    ]
    assert (found.paths.rows(), found.left_out_n) == (paths, left_out_n)
