"""Funnels against a plain search over all chains, for every option, and cases out of the text of A7."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import permutations, product
from typing import Any, NamedTuple

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.definitions import Exclude, Funnel, Step
from transforms.funnels import ATTEMPTS, attempts

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
            fits = (
                event.at >= before - funnel.either_within_us and event.at >= first - funnel.either_within_us
            )
        if fits and in_windows(events, [*chain, row], funnel):
            found += ordered_chains(events, [*chain, row], funnel)
    return found


def strict_chains(events: list[Event], anchor: int, funnel: Funnel) -> list[list[int]]:
    """Every order in which events of one instant could have come; neighbours in it are neighbours in a chain."""
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
            rises = all(a < b for a, b in zip(times, times[1:], strict=False)) or funnel.ties != "strict"
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
        strict_chains(events, anchor, funnel)
        if funnel.order == "strict"
        else ordered_chains(events, [anchor], funnel)
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
            for anchor, chain, struck in chosen:
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
                        times[0] + widest(funnel) > horizon
                        and len(chain) < len(funnel.steps)
                        and struck is None,
                        struck is not None,
                    )
                )
    return sorted(found, key=str)


@st.composite
def histories(draw: st.DrawFn, *, step_n: int, several: bool, longest: int = 7) -> list[Event]:
    events = []
    masks = (
        st.integers(0, 2**step_n - 1) if several else st.sampled_from([0, *(1 << i for i in range(step_n))])
    )
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
        lambda begin: st.builds(
            Exclude, event=st.just("x"), from_=st.just(begin), to=st.integers(begin + 1, step_n)
        )
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
    found = attempts(frame(events), funnel, horizon_us=horizon)
    assert dict(found.schema) == ATTEMPTS
    assert sorted(found.rows(), key=str) == naive(events, funnel, horizon)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_default_funnel_equals_search_over_all_chains(data: st.DataObject) -> None:
    funnel = Funnel(
        name="f", steps=tuple(Step(event=s) for s in "abc"), window_us=data.draw(st.integers(0, 30))
    )
    check(funnel, data.draw(histories(step_n=3, several=False, longest=12)), data.draw(st.integers(0, 60)))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_ordered_funnel_equals_search_over_all_chains(data: st.DataObject) -> None:
    funnel, several = data.draw(funnels("ordered"))
    check(
        funnel, data.draw(histories(step_n=len(funnel.steps), several=several)), data.draw(st.integers(0, 60))
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_strict_funnel_equals_search_over_all_orders(data: st.DataObject) -> None:
    funnel, several = data.draw(funnels("strict"))
    events = data.draw(histories(step_n=len(funnel.steps), several=several, longest=6))
    check(funnel, events, data.draw(st.integers(0, 60)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_order_funnel_equals_plain_walk(data: st.DataObject) -> None:
    funnel, several = data.draw(funnels("any"))
    check(
        funnel, data.draw(histories(step_n=len(funnel.steps), several=several)), data.draw(st.integers(0, 60))
    )
