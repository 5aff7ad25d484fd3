"""The flow: small enough to read, and nobody is lost in making it small."""

from __future__ import annotations

import random
from collections import Counter

from report.journeys import MOST_EDGES, OTHER, flow


def edge(step: int, start: str, end: str, n: int, seconds: float | None = 10.0) -> dict[str, object]:
    weighted, timed = (seconds * n, n) if seconds is not None else (None, 0)
    names = ("step_no", "from_node", "to_node", "unit_n", "weighted_s", "timed_n")
    return dict(zip(names, (step, start, end, n, weighted, timed), strict=True))


def test_folding_keeps_every_unit() -> None:
    chance = random.Random(3)
    walked: Counter[tuple[int, str, str]] = Counter()
    for _ in range(4000):
        path = [f"/page/{min(chance.randrange(60), chance.randrange(60))}" for _ in range(chance.randint(1, 5))]
        for step, (start, end) in enumerate(zip(path, [*path[1:], "(exit)"], strict=True), 1):
            walked[step, start, end] += 1
    found = flow([edge(*key, n, None if key[2] == "(exit)" else 4.0) for key, n in walked.items()])
    assert len(found["edges"]) <= MOST_EDGES
    assert found["edge_n"] == len(walked) > MOST_EDGES
    assert sum(n for _, _, n, _ in found["edges"]) == sum(walked.values())
    for at, (step, name, units, _) in enumerate(found["nodes"]):
        out = sum(n for a, _, n, _ in found["edges"] if a == at)
        into = sum(n for _, b, n, _ in found["edges"] if b == at)
        assert units == (into if step > 1 else out)
        assert name == "(exit)" or out == units
    assert {seconds for _, b, _, seconds in found["edges"] if found["nodes"][b][1] == "(exit)"} == {None}
    assert {seconds for _, b, _, seconds in found["edges"] if found["nodes"][b][1] != "(exit)"} == {4.0}


def test_a_small_flow_is_shown_as_it_is() -> None:
    found = flow([edge(1, "/", "/a", 3), edge(1, "/", "(exit)", 2, None), edge(2, "/a", "(more)", 3, None)])
    assert found["nodes"] == [[1, "/", 5, 0], [2, "/a", 3, 0], [2, "(exit)", 2, 0], [3, "(more)", 3, 0]]
    assert found["edges"] == [[0, 1, 3, 10.0], [0, 2, 2, None], [1, 3, 3, None]]


def test_what_is_folded_is_counted() -> None:
    found = flow([edge(1, "/", f"/{n}", 1000 - n) for n in range(40)])
    other = next(node for node in found["nodes"] if node[1] == OTHER)
    assert other[3] == 40 - sum(node[0] == 2 and node[1] != OTHER for node in found["nodes"])


def test_a_station_of_few_is_not_shown_by_name_nor_more_edges_than_asked() -> None:
    found = flow([edge(1, "/", f"/{n}", n) for n in range(1, 6)], 50, 4)
    assert found["nodes"] == [[1, "/", 15, 0], [2, "/5", 5, 0], [2, "/4", 4, 0], [2, OTHER, 6, 3]]
    assert len(flow([edge(1, "/", f"/{n}", n) for n in range(1, 30)], 3)["edges"]) == 3


def test_no_edges_no_flow() -> None:
    assert flow([]) == {"nodes": [], "edges": [], "edge_n": 0}
