"""Funnels against a plain search over all chains, for every option, and cases out of the text of A7."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, permutations, product
from typing import Any, Literal, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import plain_chains, timeline
from transforms.chains import window_us
from transforms.definitions import DAY_US, MINUTE_US, Exclude, Funnel, Step
from transforms.funnels import ATTEMPTS, attempts, complete_after_us, needs_order
from transforms.timeline import lay_out
from warehouse import Warehouse, open_warehouse

FIRST = date(2026, 3, 1)
PERIOD_US = 20


class Event(NamedTuple):
    unit: int
    at: int
    steps: int
    excludes: int
    breakdown: str | None
    period: date | None


def frame(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit_id": [event.unit for event in events],
            "at": [event.at for event in events],
            "period_start": [event.period for event in events],
            "steps": [event.steps for event in events],
            "excludes": [event.excludes for event in events],
            "breakdown": [event.breakdown for event in events],
        },
        schema={
            "unit_id": pl.Int64,
            "at": pl.Int64,
            "period_start": pl.Date,
            "steps": pl.UInt32,
            "excludes": pl.UInt32,
            "breakdown": pl.String,
        },
    )


# The oracle: one unit's events in total order, all chains tried, nothing shared with the kernel.


def widest(funnel: Funnel) -> int:
    limits = [limit for limit in (funnel.window_us,) if limit is not None]
    if funnel.step_window_us:
        limits.append(sum(gaps(funnel)[: len(funnel.steps) - 1]))
    return min(limits)


def gaps(funnel: Funnel) -> list[int]:
    if not funnel.step_window_us:
        return [10**9] * len(funnel.steps)
    if len(funnel.step_window_us) == 1:
        return list(funnel.step_window_us) * len(funnel.steps)
    return list(funnel.step_window_us)


def in_windows(events: list[Event], chain: list[int], funnel: Funnel) -> bool:
    times = [events[row].at for row in chain]
    return all(at - times[0] <= widest(funnel) for at in times) and all(
        later - earlier <= gap for earlier, later, gap in zip(times, times[1:], gaps(funnel), strict=False)
    )


def ordered_chains(events: list[Event], chain: list[int], funnel: Funnel) -> list[list[int]]:
    found = [chain]
    if len(chain) == len(funnel.steps):
        return found
    for row, event in enumerate(events):
        if row in chain or not event.steps >> len(chain) & 1:
            continue
        before, first = events[chain[-1]].at, events[chain[0]].at
        if funnel.ties == "strict":
            fits = event.at > before
        else:
            fits = event.at >= before - funnel.either_within_us and event.at >= first - funnel.either_within_us
        if fits and in_windows(events, [*chain, row], funnel):
            found += ordered_chains(events, [*chain, row], funnel)
    return found


def strict_chains(events: list[Event], anchor: int, funnel: Funnel) -> list[list[int]]:
    """Every order in which events of one instant could have come; a chain is a stretch of it."""
    instants: dict[int, list[int]] = {}
    for row, event in enumerate(events):
        instants.setdefault(event.at, []).append(row)
    choices = [list(permutations(rows)) for rows in instants.values()]
    if funnel.ties == "strict":
        choices = [[tuple(rows)] for rows in instants.values()]
    found = []
    for choice in product(*choices):
        order = [row for rows in choice for row in rows]
        place = order.index(anchor)
        for length in range(1, len(funnel.steps) + 1):
            chain = order[place : place + length]
            if len(chain) < length:
                break
            times = [events[row].at for row in chain]
            rises = all(a < b for a, b in pairwise(times)) or funnel.ties != "strict"
            matches = all(events[row].steps >> step & 1 for step, row in enumerate(chain))
            if rises and matches and in_windows(events, chain, funnel):
                found.append(chain)
    return found


def any_chain(events: list[Event], anchor: int, funnel: Funnel) -> list[int]:
    free = set(range(len(funnel.steps)))
    chain: list[int] = []
    for row in [anchor, *(row for row in range(len(events)) if row != anchor)]:
        event = events[row]
        if row != anchor and event.at < events[anchor].at:
            continue
        if row != anchor and funnel.ties == "strict" and event.at <= events[chain[-1]].at:
            continue
        wanted = sorted(step for step in free if event.steps >> step & 1)
        if not wanted:
            continue
        if not in_windows(events, [*chain, row], funnel):
            break
        free.remove(wanted[0])
        chain.append(row)
    return chain


def deepest(events: list[Event], anchor: int, funnel: Funnel) -> list[int]:
    if funnel.order == "any":
        return any_chain(events, anchor, funnel)
    found = (
        strict_chains(events, anchor, funnel) if funnel.order == "strict" else ordered_chains(events, [anchor], funnel)
    )
    depth = max(len(chain) for chain in found)
    return min(chain for chain in found if len(chain) == depth)


def hit(events: list[Event], chain: list[int], funnel: Funnel) -> int | None:
    rows = []
    for number, exclude in enumerate(funnel.exclude):
        if len(chain) < exclude.from_:
            continue
        begin = events[chain[exclude.from_ - 1]].at
        for row, event in enumerate(events):
            if not event.excludes >> number & 1 or event.at <= begin:
                continue
            if len(chain) >= exclude.to:
                is_hit = event.at < events[chain[exclude.to - 1]].at
            else:
                ends = events[chain[-1]].at + gaps(funnel)[len(chain) - 1]
                is_hit = event.at <= min(events[chain[0]].at + widest(funnel), ends)
            if is_hit:
                rows.append(row)
    return min(rows, default=None)


def naive(events: list[Event], funnel: Funnel, horizon: int) -> list[tuple[Any, ...]]:
    found = []
    for unit in sorted({event.unit for event in events}):
        mine = [event for event in events if event.unit == unit]
        for period in sorted({event.period for event in mine if event.period}):
            anchors = [
                row
                for row, event in enumerate(mine)
                if event.period == period and (event.steps if funnel.order == "any" else event.steps & 1)
            ]
            tried = [(anchor, deepest(mine, anchor, funnel)) for anchor in anchors]
            judged = [(anchor, chain, hit(mine, chain, funnel)) for anchor, chain in tried]
            if funnel.counting == "totals":
                chosen, free = [], -1
                after = -(10**9)
                for anchor, chain, struck in judged:
                    if anchor <= free or mine[anchor].at <= after:
                        continue
                    chosen.append((anchor, chain, struck))
                    free = anchor
                    if struck is not None:
                        free = max(free, struck)
                    elif len(chain) == len(funnel.steps):
                        free = max(free, chain[-1])
                    else:
                        after = mine[anchor].at + widest(funnel)
            elif funnel.reentry == "first":
                chosen = judged[:1]
            else:
                chosen = sorted(judged, key=lambda one: (one[2] is None, len(one[1]), one[0]))[-1:]
            for _, chain, struck in chosen:
                times = [mine[row].at for row in chain]
                values = [mine[row].breakdown for row in chain]
                where = funnel.breakdown_from
                if where == "first_step":
                    value = values[0]
                elif where == "last_step":
                    value = values[-1]
                elif where == "first_touch":
                    value = next((one for one in values if one is not None), None)
                else:
                    number = int(where.split(":")[1])
                    value = values[number - 1] if len(values) >= number else None
                found.append(
                    (
                        unit,
                        period,
                        times[0],
                        len(chain),
                        times + [None] * (len(funnel.steps) - len(chain)),
                        (value or "(none)") if funnel.breakdown else "(all)",
                        times[0] + widest(funnel) > horizon and len(chain) < len(funnel.steps) and struck is None,
                        struck is not None,
                    )
                )
    return sorted(found, key=str)


@st.composite
def histories(draw: st.DrawFn, *, step_n: int, several: bool, longest: int = 7) -> list[Event]:
    events = []
    masks = st.integers(0, 2**step_n - 1) if several else st.sampled_from([0, *(1 << i for i in range(step_n))])
    for unit in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(0, longest))):
            at = draw(st.integers(0, 45))
            # The last stretch of time lies in no period, as with entry_period = all.
            period = FIRST + timedelta(days=at // PERIOD_US) if at < 2 * PERIOD_US else None
            value = draw(st.sampled_from([None, "a", "b"]))
            events.append(Event(unit, at, draw(masks), draw(st.sampled_from([0, 0, 0, 1, 2])), value, period))
    return sorted(events, key=lambda event: (event.unit, event.at))


@st.composite
def funnels(draw: st.DrawFn, order: str) -> tuple[Funnel, bool]:
    step_n = draw(st.integers(2, 4))
    windows = st.integers(0, 12)
    step_window = draw(
        st.one_of(st.none(), st.tuples(windows), st.tuples(*[windows] * (step_n - 1)))  # type: ignore[arg-type]
    )
    window = draw(st.integers(0, 25))
    spans = st.integers(1, step_n - 1).flatmap(
        lambda begin: st.builds(Exclude, event=st.just("x"), from_=st.just(begin), to=st.integers(begin + 1, step_n))
    )
    funnel = Funnel(
        name="f",
        steps=tuple(Step(event=str(step)) for step in range(step_n)),
        order=order,  # type: ignore[arg-type]
        window_us=None if step_window and draw(st.booleans()) else window,
        step_window_us=step_window,
        reentry=draw(st.sampled_from(["first", "optimized"])),
        counting=draw(st.sampled_from(["uniques", "totals"])),
        exclude=tuple(draw(st.lists(spans, max_size=2))),
        ties=draw(st.sampled_from(["either", "strict"])),
        either_within_us=draw(st.sampled_from([0, 0, 3])) if order == "ordered" else 0,
        breakdown=draw(st.sampled_from([None, "country"])),
        breakdown_from=draw(st.sampled_from(["first_step", "last_step", "first_touch", "step:2"])),
    )
    return funnel, draw(st.booleans())


def check(funnel: Funnel, events: list[Event], horizon: int) -> None:
    told = frame(events)
    if not needs_order(funnel):
        told = told.sample(fraction=1, shuffle=True, seed=len(events))
    found = attempts(told, funnel, horizon_us=horizon)
    assert dict(found.schema) == ATTEMPTS
    assert sorted(found.rows(), key=str) == naive(events, funnel, horizon)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_default_funnel_equals_search_over_all_chains(data: st.DataObject) -> None:
    funnel = Funnel(name="f", steps=tuple(Step(event=s) for s in "abc"), window_us=data.draw(st.integers(0, 30)))
    check(funnel, data.draw(histories(step_n=3, several=False, longest=12)), data.draw(st.integers(0, 60)))


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_ordered_funnel_equals_search_over_all_chains(data: st.DataObject) -> None:
    funnel, several = data.draw(funnels("ordered"))
    check(funnel, data.draw(histories(step_n=len(funnel.steps), several=several)), data.draw(st.integers(0, 60)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_best_start_of_all_time_equals_search_over_all_chains(data: st.DataObject) -> None:
    steps = tuple(Step(event=str(step)) for step in range(data.draw(st.integers(2, 4))))
    funnel = Funnel("f", steps, window_us=data.draw(st.integers(0, 25)), entry_period="all", reentry="optimized")
    events = data.draw(histories(step_n=len(steps), several=False, longest=14))
    ever = [event._replace(period=FIRST if data.draw(st.integers(0, 5)) else None) for event in events]
    check(funnel, ever, data.draw(st.integers(0, 60)))


def test_slices_on_several_cores_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(6)
    told = [(draw.randrange(40), draw.randrange(60), 1 << draw.randrange(3)) for _ in range(2000)]
    events = frame([Event(unit, at, steps, 0, None, FIRST) for unit, at, steps in sorted(told)])
    funnel = Funnel("f", tuple(Step(event=s) for s in "abc"), window_us=9, counting="totals")
    whole = attempts(events, funnel, horizon_us=60)
    monkeypatch.setattr(timeline, "_WORTH_A_THREAD", 300)
    monkeypatch.setattr(pl, "thread_pool_size", lambda: 4)
    assert attempts(events, funnel, horizon_us=60).equals(whole)


@pytest.mark.parametrize("reentry", ["first", "optimized"])
@pytest.mark.parametrize("carry", [(), ("steps",)])
def test_blocks_of_a_plain_funnel_give_the_same(
    monkeypatch: pytest.MonkeyPatch, reentry: Literal["first", "optimized"], carry: tuple[str, ...]
) -> None:
    draw = random.Random(8)
    told = [(draw.randrange(40), draw.randrange(60), 1 << draw.randrange(3)) for _ in range(2000)]
    # One unit is longer than a block.
    told += [(7, draw.randrange(600), 1 << draw.randrange(3)) for _ in range(200)]
    events = frame([Event(unit, at, steps, 0, None, FIRST) for unit, at, steps in sorted(told)])
    funnel = Funnel("f", tuple(Step(event=s) for s in "abc"), window_us=9, reentry=reentry)
    whole = attempts(events, funnel, horizon_us=60, carry=carry)
    monkeypatch.setattr(plain_chains, "_BLOCK", 64)
    monkeypatch.setattr(timeline, "_WORTH_A_THREAD", 300)
    monkeypatch.setattr(pl, "thread_pool_size", lambda: 4)
    if not carry:
        events = events.sample(fraction=1, shuffle=True, seed=8)
    assert attempts(events, funnel, horizon_us=60, carry=carry).equals(whole)


@pytest.mark.parametrize("reentry", ["first", "optimized"])
@pytest.mark.parametrize("grain", [1, 1000])
def test_neither_ids_nor_the_fineness_of_times_change_a_funnel(
    reentry: Literal["first", "optimized"], grain: int
) -> None:
    draw = random.Random(7)
    told = sorted((draw.randrange(40), draw.randrange(60), 1 << draw.randrange(3)) for _ in range(2000))
    funnel = Funnel("f", tuple(Step(event=s) for s in "abc"), window_us=9 * grain, reentry=reentry)
    history = [Event(unit, at * grain, steps, 0, None, FIRST) for unit, at, steps in told]
    events = frame(history)
    found = attempts(events, funnel, horizon_us=2**62)
    assert sorted(found.rows(), key=str) == naive(history, funnel, 2**62)
    # Ids that lie far apart, then times so far apart that only whole milliseconds have room on one axis.
    for ids, far in ((10**16, 0), (1, 10**18)):
        moved = events.with_columns(pl.col("unit_id") * ids, at=pl.col("at") + far * (pl.col("unit_id") % 3 - 1))
        again = attempts(moved, funnel, horizon_us=2**62).with_columns(pl.col("unit_id") // ids)
        shift = far * (pl.col("unit_id") % 3 - 1)
        again = again.with_columns(entered_at=pl.col("entered_at") - shift, step_at=pl.col("step_at") - shift)
        assert again.equals(found)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_strict_funnel_equals_search_over_all_orders(data: st.DataObject) -> None:
    funnel, several = data.draw(funnels("strict"))
    events = data.draw(histories(step_n=len(funnel.steps), several=several, longest=6))
    check(funnel, events, data.draw(st.integers(0, 60)))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_order_funnel_equals_plain_walk(data: st.DataObject) -> None:
    funnel, several = data.draw(funnels("any"))
    check(funnel, data.draw(histories(step_n=len(funnel.steps), several=several)), data.draw(st.integers(0, 60)))


DAY = date(2026, 3, 1)


def depth(times: list[tuple[str, int]], **more: Any) -> tuple[int, list[int | None]]:
    """Depth and reported chain of one person's only attempt in the funnel a > b > c."""
    steps = [Step(event=name) for name in more.pop("steps", "abc")]
    events = [
        Event(1, at, sum(1 << bit for bit, step in enumerate(steps) if step.event == name), 0, None, DAY)
        for name, at in times
    ]
    found = attempts(frame(events), Funnel("f", tuple(steps), **more), horizon_us=10**9)
    assert found.height == 1
    return found["depth"][0], found["step_at"].to_list()[0]


def test_window_counts_from_the_first_step_and_includes_its_end() -> None:
    times = [("a", 0), ("b", 6), ("c", 10)]
    assert depth(times, window_us=10) == (3, [0, 6, 10])
    assert depth(times, window_us=9) == (2, [0, 6, None])


def test_step_windows_may_need_a_later_event_than_the_next() -> None:
    # The first "b" is too early for "c": the second one goes deeper, and is the one reported.
    times = [("a", 0), ("b", 1), ("b", 5), ("c", 8)]
    assert depth(times, window_us=None, step_window_us=(5, 3)) == (3, [0, 5, 8])


def test_tied_events_count_in_either_order_unless_ties_are_strict() -> None:
    times = [("c", 5), ("b", 5), ("a", 5)]
    assert depth(times, window_us=10) == (3, [5, 5, 5])
    assert depth(times, window_us=10, ties="strict") == (1, [5, None, None])
    assert depth([("b", 3), ("a", 5), ("c", 9)], window_us=10, either_within_us=2) == (3, [5, 3, 9])


def test_one_event_fills_one_step() -> None:
    assert depth([("a", 0), ("b", 1)], steps="aba", window_us=10)[0] == 2
    assert depth([("a", 0)], steps="aa", window_us=10)[0] == 1
    assert depth([("a", 0), ("a", 0)], steps="aa", window_us=10)[0] == 2


def test_hundreds_of_ties_and_repeated_steps_are_walked_at_once() -> None:
    # Without memory of what failed, and of what cannot be reached, each of these would try millions of chains.
    pairs = [("a", place // 2) for place in range(1000)]
    assert depth(pairs, steps="aaaaab", window_us=1000)[0] == 5
    assert depth([("b", 0), *pairs, ("b", 400)], steps="aaaaab", window_us=1000)[0] == 6
    assert depth([("a", 0)] * 1000, steps="aaaaab", window_us=10)[0] == 5
    assert depth(pairs, steps="aaaaab", window_us=None, step_window_us=(3,))[0] == 5
    assert depth(pairs, steps="aaab", order="strict", window_us=1000)[0] == 3
    crowd = [("ab"[place % 2], 0) for place in range(20_000)]
    assert depth([*crowd, ("c", 5)], order="strict", window_us=10) == (3, [0, 0, 5])


def test_strict_order_allows_nothing_between_and_no_repeat() -> None:
    assert depth([("a", 0), ("x", 1), ("b", 2)], order="strict", window_us=10)[0] == 1
    assert depth([("a", 0), ("b", 1), ("b", 2), ("c", 3)], order="strict", window_us=10)[0] == 2


def test_any_order_fills_steps_as_they_come() -> None:
    assert depth([("c", 0), ("a", 1), ("b", 3)], order="any", window_us=10) == (3, [0, 1, 3])


def test_reentry_first_keeps_the_first_anchor_and_optimized_the_deepest_then_latest() -> None:
    times = [("a", 0), ("a", 5), ("a", 6), ("b", 12)]
    assert depth(times, window_us=8) == (1, [0, None, None])
    assert depth(times, window_us=8, reentry="optimized") == (2, [6, 12, None])


def test_totals_begin_again_after_a_conversion_or_the_end_of_a_window() -> None:
    steps = tuple(Step(event=name) for name in "ab")
    events = [Event(1, at, mask, 0, None, DAY) for at, mask in [(0, 1), (1, 1), (2, 2), (3, 1), (8, 1), (9, 1)]]
    found = attempts(frame(events), Funnel("f", steps, window_us=5, counting="totals"), horizon_us=11)
    assert found.select("entered_at", "depth", "is_open").rows() == [
        (0, 2, False),
        (3, 1, False),
        (9, 1, True),
    ]


def test_excluded_attempt_is_hit_strictly_between_its_steps() -> None:
    def is_excluded(at: int) -> bool:
        steps = tuple(Step(event=name) for name in "abc")
        events = sorted([(0, 1, 0), (4, 2, 0), (8, 4, 0), (at, 0, 1)])
        funnel = Funnel("f", steps, window_us=20, exclude=(Exclude("x", 2, 3),))
        rows = [Event(1, at, mask, hits, None, DAY) for at, mask, hits in events]
        return bool(attempts(frame(rows), funnel, horizon_us=0)["is_excluded"][0])

    assert [at for at in range(10) if is_excluded(at)] == [5, 6, 7]


def test_attempts_of_different_periods_are_judged_alone() -> None:
    # One purchase converts both days' attempts.
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=1)]
    events = [Event(1, at, mask, 0, None, day) for (at, mask), day in zip([(0, 1), (5, 1), (7, 2)], days, strict=True)]
    found = attempts(frame(events), Funnel("f", (Step("a"), Step("b")), window_us=10), horizon_us=99)
    assert found.select("period_start", "depth").rows() == [(days[0], 2), (days[1], 2)]


def test_window_is_the_tightest_limit_and_a_session_gives_at_most_a_day() -> None:
    three = (Step("a"), Step("b"), Step("c"))
    assert window_us(Funnel("f", three, window_us=100, step_window_us=(30, 40))) == 70
    assert window_us(Funnel("f", three, window_us=100, step_window_us=(30,))) == 60
    assert window_us(Funnel("f", three, unit="session")) == DAY_US
    assert complete_after_us(Funnel("f", three, unit="session")) == DAY_US + 30 * MINUTE_US
    with pytest.raises(ValueError, match="set window or step_window"):
        window_us(Funnel("f", three, window_us=None))


def test_units_too_far_apart_for_one_axis_come_in_parts_with_the_same_result() -> None:
    far = 2**60
    events = [
        Event(unit, at, mask, 0, None, DAY)
        for unit in range(7)
        for at, mask in [(-far, 1), (-far + 5, 2), (far, 1), (far + 5, 2)]
    ]
    funnel = Funnel("f", (Step("a"), Step("b")), window_us=10, counting="totals")
    assert len(list(lay_out(frame(events), margin_us=10))) > 1
    found = attempts(frame(events), funnel, horizon_us=0)
    assert found["step_at"].to_list() == [[-far, -far + 5], [far, far + 5]] * 7


# The cells.


def cells(warehouse: Warehouse, events: list[Event], funnel: Funnel, horizon: datetime) -> list[dict[str, Any]]:
    found = attempts(frame(events), funnel, horizon_us=int(horizon.replace(tzinfo=UTC).timestamp() * 1e6))
    rows = found.with_columns(
        pl.col("entered_at").cast(pl.Datetime("us")),
        pl.col("step_at").cast(pl.List(pl.Datetime("us"))),
        funnel=pl.lit(funnel.name),
        person_id=pl.col("unit_id"),
    )
    warehouse.execute("delete from marts.funnel_attempts")
    warehouse.execute("delete from marts.funnel_steps")
    warehouse.insert_frame("marts.funnel_attempts", rows)
    starts = [DAY + timedelta(days=day) for day in range(3)]
    ends = [datetime.combine(start + timedelta(days=1), datetime.min.time()) for start in starts]
    labels = [step.label for step in funnel.steps]
    with warehouse.frames(
        cells=pl.DataFrame({"period_start": starts, "period_end_at": ends}),
        steps=pl.DataFrame({"step_no": range(1, len(labels) + 1), "step_name": labels}),
    ):
        warehouse.insert(
            "marts.funnel_steps",
            {
                "funnel": funnel.name,
                "period": "day",
                "horizon": horizon,
                "timezone": "UTC",
                "complete_after": timedelta(microseconds=complete_after_us(funnel)),
            },
        )
    return warehouse.frame(
        "select * from marts.funnel_steps order by period_start, breakdown_value, step_no"
    ).to_dicts()


def us(day: int, second: int) -> int:
    return int(datetime(2026, 3, 1 + day, tzinfo=UTC).timestamp() + second) * 1_000_000


def test_cells_count_steps_times_and_bounds_and_hold_back_what_is_not_over() -> None:
    funnel = Funnel("f", (Step("a"), Step("b")), window_us=DAY_US)
    seconds = [10, 20, 40, None]
    events = []
    for unit, second in enumerate(seconds):
        events.append(Event(unit, us(0, 0), 1, 0, None, DAY))
        if second is not None:
            events.append(Event(unit, us(0, second), 2, 0, None, DAY))
    events.append(Event(9, us(2, 1), 1, 0, None, DAY + timedelta(days=2)))
    warehouse = open_warehouse(None)
    rows = cells(warehouse, events, funnel, datetime(2026, 3, 4))
    assert len(rows) == 6
    first, second = rows[0], rows[1]
    assert (first["reached_n"], second["reached_n"], second["step_pct"], second["overall_pct"]) == (
        4,
        3,
        0.75,
        0.75,
    )
    # Wilson, 3 of 4, z = 1.959964.
    assert second["overall_lo"] == pytest.approx(0.300642, abs=1e-6)
    assert second["overall_hi"] == pytest.approx(0.954413, abs=1e-6)
    assert (second["from_start_median_s"], second["from_start_p90_s"], second["from_prev_median_s"]) == (
        20,
        36,
        20,
    )
    # Nobody entered on the second day.
    assert [(row["breakdown_value"], row["reached_n"], row["overall_pct"]) for row in rows[2:4]] == [
        ("(all)", 0, None),
        ("(all)", 0, None),
    ]
    # The windows of the third day are not over.
    assert [(row["reached_n"], row["reached_n_to_date"], row["open_n"], row["is_complete"]) for row in rows[4:]] == [
        (None, 1, 1, False),
        (None, 0, 1, False),
    ]
    # With the end of the last window the row is complete.
    rows = cells(warehouse, events, funnel, datetime(2026, 3, 5))
    assert [(row["reached_n"], row["open_n"], row["is_complete"]) for row in rows[4:]] == [
        (1, 0, True),
        (0, 0, True),
    ]


def test_cells_leave_excluded_attempts_out_of_every_step_and_split_by_breakdown() -> None:
    funnel = Funnel("f", (Step("a"), Step("b")), window_us=DAY_US, exclude=(Exclude("x", 1, 2),), breakdown="country")
    events = [
        Event(1, us(0, 0), 1, 0, "nl", DAY),
        Event(1, us(0, 5), 0, 1, "nl", DAY),
        Event(1, us(0, 9), 2, 0, "nl", DAY),
        Event(2, us(0, 0), 1, 0, None, DAY),
    ]
    rows = cells(open_warehouse(None), events, funnel, datetime(2026, 3, 9))
    found = [(row["breakdown_value"], row["step_no"], row["reached_n"], row["excluded_n"]) for row in rows[:4]]
    assert found == [("(none)", 1, 1, 0), ("(none)", 2, 0, 0), ("nl", 1, 0, 1), ("nl", 2, 0, 1)]
    assert rows[2]["overall_pct"] is None
