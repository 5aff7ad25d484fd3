"""Where sessions begin and end, against a walk in plain Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.definitions import DAY_US, MINUTE_US, Sessions
from transforms.sessions import cut

RULES = Sessions()
EVERY_CUT = Sessions(cut_at_midnight=True, cut_on_client_id=True, cut_on_campaign=True, cut_on_user_change=True)
SCHEMA = {
    "device_id": pl.Int64,
    "at": pl.Int64,
    "event_no": pl.Int64,
    "is_bearing": pl.Boolean,
    "session_hint": pl.String,
    "campaign_key": pl.Int64,
    "is_page": pl.Boolean,
    "user": pl.Int64,
    "is_manual": pl.Boolean,
    "date": pl.Date,
}
ZONE = ZoneInfo("America/Havana")  # its clocks go back over midnight
BEGIN = int(datetime(2026, 10, 31, tzinfo=UTC).timestamp()) * 1_000_000


class Line(NamedTuple):
    device: int
    at: int
    number: int
    bears: bool = True
    hint: str | None = None
    campaign: int | None = None
    is_page: bool = False
    user: int | None = None
    is_manual: bool = False

    @property
    def day(self) -> date:
        return datetime.fromtimestamp(self.at / 1e6, ZONE).date()


def frame(lines: list[Line]) -> pl.DataFrame:
    return pl.DataFrame([(*line, line.day) for line in lines], schema=SCHEMA, orient="row")


def sessions_of(lines: list[Line], rules: Sessions = RULES) -> list[int | None]:
    return cut(frame(lines), rules)["session_no"].to_list()


def rules_of(lines: list[Line], rules: Sessions) -> list[str | None]:
    """What cut, on the events that begin a session."""
    placed = cut(frame(lines), rules)
    return placed.select(pl.when(pl.col("session_no") == pl.col("event_no")).then("start_rule"))["start_rule"].to_list()


def naive(lines: list[Line], rules: Sessions) -> list[tuple[int | None, str | None]]:
    """A3 rule by rule: each cuts the pieces that the rules before it left."""
    found: dict[int, tuple[int | None, str | None]] = {}
    for device in {line.device for line in lines}:
        pieces: list[tuple[str, list[Line]]] = []
        for line in lines:
            if line.device != device or not line.bears:
                continue
            if pieces and line.at - pieces[-1][1][-1].at <= rules.gap_us:
                pieces[-1][1].append(line)
            else:
                pieces.append(("gap", [line]))
        for name, is_on, cuts in (
            ("cap", True, lambda piece, n: is_long(piece, rules) and piece[n].at // DAY_US > piece[n - 1].at // DAY_US),
            ("midnight", rules.cut_at_midnight, lambda piece, n: piece[n].day != piece[n - 1].day),
            ("client_id", rules.cut_on_client_id, lambda piece, n: changes([line.hint for line in piece[: n + 1]])),
            ("campaign", rules.cut_on_campaign, campaign_cuts),
            ("user_change", rules.cut_on_user_change, lambda piece, n: changes([line.user for line in piece[: n + 1]])),
            ("manual", bool(rules.cut_on_events), lambda piece, n: piece[n].is_manual),
        ):
            if is_on:
                pieces = [part for rule, piece in pieces for part in split(rule, piece, name, cuts)]
        for rule, held in pieces:
            for line in held:
                found[line.number] = (held[0].number, rule)
        for line in lines:
            if line.device == device and not line.bears:
                holding = [
                    (held[0].number, rule)
                    for rule, held in pieces
                    if held[0].at <= line.at <= held[-1].at + rules.gap_us
                ]
                found[line.number] = holding[-1] if holding else (None, None)
    return [found[line.number] for line in lines]


def is_long(piece: list[Line], rules: Sessions) -> bool:
    return piece[-1].at - piece[0].at > rules.cap_us


def changes(values: list[Any]) -> bool:
    known = [value for value in values[:-1] if value is not None]
    return values[-1] is not None and bool(known) and known[-1] != values[-1]


def campaign_cuts(piece: list[Line], n: int) -> bool:
    pages = [line for line in piece[:n] if line.is_page]
    campaigns = [line.campaign for line in pages if line.campaign is not None]
    here = piece[n].campaign if piece[n].is_page else None
    if here is None:
        return False
    return campaigns[-1] != here if campaigns else bool(pages)


def split(
    rule: str, piece: list[Line], name: str, cuts: Callable[[list[Line], int], bool]
) -> list[tuple[str, list[Line]]]:
    starts = [0, *(n for n in range(1, len(piece)) if cuts(piece, n)), len(piece)]
    return [(name if begin else rule, piece[begin:end]) for begin, end in pairwise(starts)]


def test_a_pause_of_exactly_the_gap_does_not_cut() -> None:
    at = [0, 30 * MINUTE_US, 60 * MINUTE_US + 1000]
    assert sessions_of([Line(1, time, number) for number, time in enumerate(at)]) == [0, 0, 2]


def test_a_run_longer_than_the_cap_is_cut_at_utc_midnights_only() -> None:
    start = 20 * 60 * MINUTE_US
    lines = [Line(1, start + number * 30 * MINUTE_US, number) for number in range(60)]
    placed = cut(frame(lines), RULES)
    # 20:00, then half-hourly for 29.5 hours: midnight after 8 events, and again 48 later.
    assert sorted(set(placed["session_no"].to_list())) == [0, 8, 56]
    assert placed["start_rule"].to_list()[8] == "cap"


def test_a_run_of_exactly_the_cap_stays_whole() -> None:
    lines = [Line(1, number * 30 * MINUTE_US, number) for number in range(49)]
    assert set(sessions_of(lines)) == {0}


def test_an_event_that_does_not_bear_follows_its_session_and_never_lengthens_it() -> None:
    lines = [Line(1, 0, 0), Line(1, 25 * MINUTE_US, 1, False), Line(1, 50 * MINUTE_US, 2, False)]
    assert sessions_of(lines) == [0, 0, None]


def test_an_event_that_does_not_bear_does_not_join_what_comes_later() -> None:
    assert sessions_of([Line(1, 0, 0, False), Line(1, MINUTE_US, 1)]) == [None, 1]


def test_another_device_is_another_session() -> None:
    assert sessions_of([Line(1, 0, 0), Line(2, 0, 1, False), Line(2, 0, 2)]) == [0, 2, 2]


def test_local_midnight_cuts_and_utc_midnight_does_not() -> None:
    minutes = (23 * 60 + 50, 24 * 60 + 10, 28 * 60 - 10, 28 * 60 + 10)  # Havana is four hours behind
    lines = [Line(1, BEGIN + minute * MINUTE_US, number) for number, minute in enumerate(minutes)]
    lines[2:2] = [Line(1, BEGIN + (24 * 60 + 10 + more) * MINUTE_US, 10 + more) for more in range(30, 220, 30)]
    assert sessions_of(lines, Sessions(cut_at_midnight=True))[-2:] == [0, 3]
    assert rules_of(lines, Sessions(cut_at_midnight=True))[-1] == "midnight"
    assert set(sessions_of(lines)) == {0}


def test_midnight_cuts_once_on_the_day_whose_clocks_go_back_over_it() -> None:
    # In Havana 1:00 of the 1st becomes 0:00 of the same date again.
    lines = [Line(1, BEGIN + (28 * 60 - 20 + number * 20) * MINUTE_US, number) for number in range(8)]
    assert rules_of(lines, EVERY_CUT) == ["gap", "midnight", *[None] * 6]


def test_a_campaign_cuts_where_it_changes_and_as_the_first_only_after_a_page() -> None:
    rules = Sessions(cut_on_campaign=True)
    told = [(None, False), (7, True), (None, True), (7, True), (8, True), (None, True), (8, False), (9, False)]
    lines = [Line(1, n, n, campaign=campaign, is_page=is_page) for n, (campaign, is_page) in enumerate(told)]
    assert rules_of(lines, rules) == ["gap", None, None, None, "campaign", None, None, None]
    lines[0] = Line(1, 0, 0, is_page=True)
    assert rules_of(lines, rules)[:3] == ["gap", "campaign", None]


def test_the_first_of_several_rules_is_told() -> None:
    rules = Sessions(cut_on_client_id=True, cut_on_user_change=True)
    lines = [Line(1, 0, 0, hint="a", user=1), Line(1, 1, 1, hint="b", user=2), Line(1, 2, 2, user=1, is_manual=True)]
    assert rules_of(lines, rules) == ["gap", "client_id", "user_change"]


def test_a_session_of_many_events_is_cut_at_once() -> None:
    lines = [
        Line(1, n * 100_000, n, bears=n % 3 > 0, is_page=n % 5 == 0, hint=f"{n // 40_000}") for n in range(100_000)
    ]
    began = time.monotonic()
    assert len(set(sessions_of(lines, EVERY_CUT))) == 4  # the first line bears nothing
    assert time.monotonic() - began < 5


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
            st.sampled_from((None, None, "a", "b")),
            st.sampled_from((None, None, 1, 2)),
            st.booleans(),
            st.sampled_from((None, None, 1, 2)),
            st.sampled_from((False,) * 7 + (True,)),
        ),
        max_size=80,
    ),
    st.tuples(*[st.booleans()] * 4),
)
def test_the_walk_is_the_naive_one(told: list[tuple[Any, ...]], on: tuple[bool, ...]) -> None:
    rules = Sessions(cut_at_midnight=on[0], cut_on_client_id=on[1], cut_on_campaign=on[2], cut_on_user_change=on[3])
    lines = [Line(device, BEGIN + at, number, *rest) for number, (device, at, *rest) in enumerate(told)]
    lines.sort(key=lambda line: line[:3])
    placed = cut(frame(lines), rules)
    assert list(zip(placed["session_no"], placed["start_rule"], strict=True)) == naive(lines, rules)
