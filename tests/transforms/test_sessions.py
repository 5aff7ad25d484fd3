"""Where sessions begin and end, against a walk in plain Python."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.definitions import DAY_US, MINUTE_US, Sessions
from transforms.sessions import cut

RULES = Sessions()
SCHEMA = {"device_id": pl.Int64, "at": pl.Int64, "event_no": pl.Int64, "is_bearing": pl.Boolean}
Line = tuple[int, int, int, bool]


def frame(lines: list[Line]) -> pl.DataFrame:
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")


def sessions_of(lines: list[Line]) -> list[int | None]:
    return cut(frame(lines), RULES)["session_no"].to_list()


def naive(lines: list[Line]) -> list[tuple[int | None, str | None]]:
    """A3 rule by rule: runs by the gap, the cap's grid, then the events that only follow."""
    found: dict[int, tuple[int | None, str | None]] = {}
    for device in {line[0] for line in lines}:
        bearing = [line for line in lines if line[0] == device and line[3]]
        runs: list[list[Line]] = []
        for line in bearing:
            if runs and line[1] - runs[-1][-1][1] <= RULES.gap_us:
                runs[-1].append(line)
            else:
                runs.append([line])
        sessions: list[tuple[str, list[Line]]] = []
        for run in runs:
            is_long = run[-1][1] - run[0][1] > RULES.cap_us
            for place, line in enumerate(run):
                if place == 0:
                    sessions.append(("gap", [line]))
                elif is_long and line[1] // DAY_US > run[place - 1][1] // DAY_US:
                    sessions.append(("cap", [line]))
                else:
                    sessions[-1][1].append(line)
        for rule, held in sessions:
            for line in held:
                found[line[2]] = (held[0][2], rule)
        for line in lines:
            if line[0] == device and not line[3]:
                holding = [
                    (held[0][2], rule) for rule, held in sessions if held[0][1] <= line[1] <= held[-1][1] + RULES.gap_us
                ]
                found[line[2]] = holding[-1] if holding else (None, None)
    return [found[line[2]] for line in lines]


def test_a_pause_of_exactly_the_gap_does_not_cut() -> None:
    at = [0, 30 * MINUTE_US, 60 * MINUTE_US + 1000]
    assert sessions_of([(1, time, number, True) for number, time in enumerate(at)]) == [0, 0, 2]


def test_a_run_longer_than_the_cap_is_cut_at_utc_midnights_only() -> None:
    start = 20 * 60 * MINUTE_US
    lines: list[Line] = [(1, start + number * 30 * MINUTE_US, number, True) for number in range(60)]
    placed = cut(frame(lines), RULES)
    # 20:00, then half-hourly for 29.5 hours: midnight after 8 events, and again 48 later.
    assert sorted(set(placed["session_no"].to_list())) == [0, 8, 56]
    assert placed["start_rule"].to_list()[8] == "cap"


def test_a_run_of_exactly_the_cap_stays_whole() -> None:
    lines: list[Line] = [(1, number * 30 * MINUTE_US, number, True) for number in range(49)]
    assert set(sessions_of(lines)) == {0}


def test_an_event_that_does_not_bear_follows_its_session_and_never_lengthens_it() -> None:
    lines: list[Line] = [(1, 0, 0, True), (1, 25 * MINUTE_US, 1, False), (1, 50 * MINUTE_US, 2, False)]
    assert sessions_of(lines) == [0, 0, None]


def test_an_event_that_does_not_bear_does_not_join_what_comes_later() -> None:
    assert sessions_of([(1, 0, 0, False), (1, MINUTE_US, 1, True)]) == [None, 1]


def test_another_device_is_another_session() -> None:
    assert sessions_of([(1, 0, 0, True), (2, 0, 1, False), (2, 0, 2, True)]) == [0, 2, 2]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 2),
            st.one_of(
                st.integers(0, 8).map(lambda n: n * 30 * MINUTE_US),
                st.integers(0, 130).map(lambda n: n * 30 * MINUTE_US),
                st.integers(0, 300).map(lambda n: n * 11 * MINUTE_US),
            ),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_the_walk_is_the_naive_one(told: list[tuple[int, int, bool]]) -> None:
    lines: list[Line] = [(device, at, number, bears) for number, (device, at, bears) in enumerate(told)]
    lines.sort(key=lambda line: (line[0], line[1], line[2]))
    placed = cut(frame(lines), RULES)
    assert list(zip(placed["session_no"], placed["start_rule"], strict=True)) == naive(lines)
