"""Whose an event is, against the rules of A2 read one by one."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.definitions import DAY_US, Identity
from transforms.identity import own

RULES = Identity(stitch_us=30 * DAY_US)
SCHEMA = {"device_id": pl.Int64, "at": pl.Int64, "user": pl.Int64, "edge": pl.Int64, "is_shared": pl.Boolean}
Line = tuple[int, int, int | None, int | None, bool]


def owners(lines: list[Line]) -> list[tuple[int, str]]:
    placed = own(pl.DataFrame(lines, schema=SCHEMA, orient="row"), RULES)
    return list(zip(placed["person_id"], placed["owner_rule"], strict=True))


def naive(lines: list[Line]) -> list[tuple[int, str]]:
    found = []
    for place, (device, at, user, _, is_shared) in enumerate(lines):
        later = [line for line in lines[place:] if line[0] == device and line[3] is not None]
        earlier = [line for line in lines[:place] if line[0] == device and line[3] is not None]
        if user is not None:
            found.append((user, "own"))
        elif is_shared:
            found.append((device, "shared"))
        elif later and later[0][1] - at <= RULES.stitch_us:
            found.append((later[0][3] or 0, "next"))
        elif earlier and at - earlier[-1][1] <= RULES.stitch_us:
            found.append((earlier[-1][3] or 0, "previous"))
        else:
            found.append((device, "device"))
    return found


def test_a_login_claims_what_came_before_and_after() -> None:
    lines: list[Line] = [(1, 0, None, None, False), (1, DAY_US, 7, 7, False), (1, 2 * DAY_US, None, None, False)]
    assert owners(lines) == [(7, "next"), (7, "own"), (7, "previous")]


def test_the_next_login_comes_before_the_one_before() -> None:
    lines: list[Line] = [(1, 0, 7, 7, False), (1, DAY_US, None, None, False), (1, 2 * DAY_US, 8, 8, False)]
    assert owners(lines)[1] == (8, "next")


def test_both_bounds_are_inclusive() -> None:
    far = 30 * DAY_US
    assert owners([(1, 0, None, None, False), (1, far, 7, 7, False), (1, 2 * far, None, None, False)]) == [
        (7, "next"),
        (7, "own"),
        (7, "previous"),
    ]
    assert owners([(1, 0, None, None, False), (1, far + 1, 7, 7, False)])[0] == (1, "device")


def test_a_shared_device_keeps_what_names_nobody() -> None:
    assert owners([(1, 0, None, None, True), (1, 1, 7, 7, True)]) == [(1, "shared"), (7, "own")]


def test_another_device_has_no_say() -> None:
    assert owners([(1, 0, None, None, False), (2, 0, 7, 7, False)])[0] == (1, "device")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 100), st.sampled_from((None, None, 7, 8)), st.booleans()),
        max_size=40,
    ),
    st.sets(st.integers(1, 3)),
)
def test_the_walk_is_the_naive_one(told: list[tuple[int, int, int | None, bool]], shared: set[int]) -> None:
    lines: list[Line] = [
        # an alias call brings an edge on a row that names no customer itself
        (device, day * DAY_US, None if is_alias else user, user, device in shared)
        for device, day, user, is_alias in sorted(told, key=lambda line: line[:2])
    ]
    assert owners(lines) == naive(lines)
