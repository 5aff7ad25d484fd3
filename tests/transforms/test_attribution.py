"""Attribution against a plain walk over sessions and orders, and cases out of its words."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.transforms.visits import NOON, built, said
from transforms.definitions import DAY_US, Attribution, Definitions, Site
from warehouse import Warehouse

DAY = 86_400
MODELS = ("first", "last", "last_non_direct", "linear")
EMAIL = {"campaign": {"source": "news", "medium": "email"}}
SEARCH = {"referrer": "https://www.google.com/"}


def order(at_s: float, number: int, revenue: float = 10, **other: Any) -> dict[str, Any]:
    return said("Order Completed", at_s, {"order_id": str(number), "revenue": revenue}, **other)


def credits(warehouse: Warehouse, model: str) -> list[tuple[Any, ...]]:
    return warehouse.execute(
        "select channel, credit, cast(revenue_amt as double) from marts.attribution_touches "
        "where model = $model order by converted_at, touch_no",
        {"model": model},
    )


def three_visits(**other: Any) -> list[dict[str, Any]]:
    return [
        said("page", 0, **SEARCH, **other),
        said("page", 2 * DAY, window=EMAIL, **other),
        said("page", 4 * DAY, **other),
        order(4 * DAY + 60, 1, **other),
    ]


def test_each_model_gives_to_its_touches() -> None:
    warehouse = built(*three_visits(), at=NOON + timedelta(days=5))
    assert credits(warehouse, "first") == [("Organic Search", 1, 10)]
    assert credits(warehouse, "last") == [("Direct", 1, 10)]
    assert credits(warehouse, "last_non_direct") == [("Email", 1, 10)]
    third = 1 / 3
    shares = credits(warehouse, "linear")
    assert [row[:2] for row in shares] == [("Organic Search", third), ("Email", third), ("Direct", third)]
    assert sum(row[2] for row in shares) == pytest.approx(10)
    total = "select sum(revenue_amt) from marts.attribution_touches where model = 'linear'"
    assert warehouse.value(total) == Decimal(10)


def test_all_direct_gives_the_last_one_all() -> None:
    warehouse = built(said("page", 0), said("page", DAY), order(DAY + 60, 1), at=NOON + timedelta(days=5))
    found = warehouse.execute("select touch_no, touch_n from marts.attribution_touches where model = 'last_non_direct'")
    assert found == [(2, 2)]


def test_the_lookback_holds_its_bound_and_the_session_of_the_order_counts_always() -> None:
    lookback = Definitions(attribution=Attribution(lookback_us=DAY_US))
    events = [said("page", 0, **SEARCH), said("page", DAY - 60), order(DAY, 1), order(DAY + 1, 2)]
    warehouse = built(*events, definitions=lookback, at=NOON + timedelta(days=5))
    assert [row[0] for row in credits(warehouse, "first")] == ["Organic Search", "Direct"]


def test_touches_before_the_last_conversion_may_be_left_out() -> None:
    since = Definitions(attribution=Attribution(since_last_conversion=True))
    events = [*three_visits(), said("page", 6 * DAY), order(6 * DAY + 60, 2), order(6 * DAY + 120, 3)]
    found = "select touch_n from marts.attribution_touches where model = 'last' order by converted_at"
    assert built(*events, at=NOON + timedelta(days=9)).execute(found) == [(3,), (4,), (4,)]
    assert built(*events, definitions=since, at=NOON + timedelta(days=9)).execute(found) == [(3,), (1,), (1,)]


def test_events_are_touches_where_they_are_listed() -> None:
    events = [
        said("Email Clicked", 0, user_id="u", anonymous_id=None),
        said("page", DAY, user_id="u"),
        order(DAY + 60, 1, user_id="u"),
    ]
    listed = Definitions(attribution=Attribution(touches=("Email *",)))
    assert credits(built(*events, definitions=listed), "first") == [("Email", 1, 10)]
    assert credits(built(*events), "first") == [("Direct", 1, 10)]


def test_a_refund_takes_back_along_the_credits_of_its_order_whenever_it_comes() -> None:
    refund = said("Order Refunded", 40 * DAY, {"order_id": "1", "revenue": 3}, anonymous_id=None)
    at = NOON + timedelta(days=41)
    at_once = built(*three_visits(), refund, at=at)
    first = built(refund, at=at)
    assert credits(first, "last") == [("(unattributed)", 1, -3)]
    later = built(*three_visits(), at=at, into=first)
    for warehouse in (at_once, later):
        assert [row[0] for row in credits(warehouse, "linear")] == ["Organic Search", "Email", "Direct"] * 2
        total = "select month, conversion_n, cast(revenue_amt as double) from marts.attribution where model = 'last'"
        assert [row[1:] for row in warehouse.execute(f"{total} order by month")] == [(1, 10), (0, -3)]


def test_an_order_of_nobody_is_unattributed() -> None:
    warehouse = built(order(0, 1, anonymous_id=None))
    assert [credits(warehouse, model) for model in MODELS] == [[("(unattributed)", 1, 10)]] * 4


def test_another_key_event_has_the_value_that_it_names() -> None:
    key = Definitions(site=Site(key_events=("Signed *",)))
    warehouse = built(said("Signed Up", 0, {"value": 5}), order(10, 1), definitions=key)
    found = "select conversion, revenue_amt from marts.attribution_touches where model = 'last'"
    assert warehouse.execute(found) == [("Signed Up", Decimal(5))]


def test_spend_goes_by_channel_and_none_is_lost() -> None:
    def spent(amount: float, **said_of: Any) -> dict[str, Any]:
        return said("Ad Spend", 60, {"cost": amount, **said_of}, anonymous_id=None)

    events = [
        *three_visits(),
        spent(4, channel="Email"),
        spent(1, source="news", medium="email"),
        spent(7, source="google"),
        spent(9, channel="Email", currency="XXX"),
        spent(2, channel="Display"),
    ]
    warehouse = built(*events, at=NOON + timedelta(days=50))
    query = (
        "select channel, conversion_n, cast(spend_amt as double), roas, unconverted_n from marts.attribution "
        "where model = 'last_non_direct' order by channel"
    )
    assert warehouse.execute(query) == [
        ("(unmapped)", 0, 7, 0, 0),
        ("Display", 0, 2, 0, 0),
        ("Email", 1, 5, 2, 1),
    ]


def test_return_on_spend_is_unknown_until_the_month_is_over_and_without_spend() -> None:
    spend = said("Ad Spend", 0, {"cost": 4, "channel": "Email"}, anonymous_id=None)
    found = "select distinct roas, is_complete from marts.attribution where channel = 'Email' and conversion_n > 0"
    early = built(*three_visits(), spend, at=NOON + timedelta(days=9))
    assert early.execute(found) == [(None, False)]
    built(said("page", 30 * DAY), at=NOON + timedelta(days=31), into=early)
    assert {row[1] for row in early.execute(found)} == {True}
    assert built(*three_visits(), at=NOON + timedelta(days=31)).execute(found)[0][0] is None


def test_a_way_to_nothing_counts_when_no_conversion_can_follow_any_more() -> None:
    query = "select outcome, path, path_n from marts.attribution_paths order by all"
    visits = [said("page", 0, **SEARCH), said("page", DAY, **SEARCH), said("page", 2 * DAY)]
    warehouse = built(*visits, at=NOON + timedelta(days=20))
    assert warehouse.execute(query) == []
    assert warehouse.execute("select is_open, touch_n from marts.attribution_runs") == [(True, 3)]
    # Somebody else's visit only moves the clock.
    built(said("page", 33 * DAY, anonymous_id="other"), at=NOON + timedelta(days=33), into=warehouse)
    assert warehouse.execute(query) == [("not_converted", "Organic Search > Direct", 1)]
    built(order(20 * DAY, 1), at=NOON + timedelta(days=34), into=warehouse)
    assert [row[:2] for row in warehouse.execute(query)] == [("converted", "Organic Search > Direct > (none)")]


# The oracle: every conversion and every touch one by one.


def naive_touches(
    warehouse: Warehouse, rules: Attribution
) -> tuple[dict[tuple[str, str], dict[int, float]], list[tuple[Any, ...]]]:
    """(conversion, model) to touch numbers with credit, and the ways to nothing."""
    visits = warehouse.execute(
        "select s.person_id, s.started_at, e.seq, e.event_id, s.session_no, coalesce(s.channel, '(none)') "
        "from core.sessions as s inner join core.events as e on s.session_no = e.event_no where not s.is_bot"
    )
    visits.sort(key=lambda row: (row[1], row[2] is None, row[2] or 0, row[3]))
    orders = warehouse.execute(
        "select event_id, person_id, ordered_at, session_no from core.orders where not is_bot order by ordered_at"
    )
    lookback = timedelta(microseconds=rules.lookback_us)
    credit: dict[tuple[str, str], dict[int, float]] = {}
    for event_id, person, at, session_no in orders:
        before = [other[2] for other in orders if other[1] == person and other[2] < at]
        met = [
            visit
            for visit in visits
            if visit[4] == session_no
            or (
                visit[0] == person
                and at - lookback <= visit[1] <= at
                and not (rules.since_last_conversion and before and visit[1] <= max(before))
            )
        ]
        named = [n for n, visit in enumerate(met, 1) if visit[5] not in ("Direct", "(none)")]
        credit[event_id, "first"] = {min(1, len(met)): 1.0}
        credit[event_id, "last"] = {len(met): 1.0}
        credit[event_id, "last_non_direct"] = {named[-1] if named else len(met): 1.0}
        credit[event_id, "linear"] = {n: 1 / len(met) for n in range(1, len(met) + 1)} or {0: 1.0}
    runs: list[tuple[Any, ...]] = []
    for person in {visit[0] for visit in visits}:
        last: datetime | None = None
        for visit in visits:
            is_followed = any(other[1] == person and visit[1] <= other[2] <= visit[1] + lookback for other in orders)
            if visit[0] != person or is_followed:
                continue
            if last is None or visit[1] - last > lookback:
                runs.append((person, [visit[5]]))
            else:
                runs[-1][1].append(visit[5])
            last = visit[1]
    paths = [
        (person, len(told), " > ".join(each for n, each in enumerate(told) if n == 0 or told[n - 1] != each))
        for person, told in runs
    ]
    return credit, sorted(paths)


@pytest.mark.parametrize("seed", range(4))
def test_credits_and_ways_are_those_of_a_plain_walk(seed: int) -> None:
    told = random.Random(seed)
    rules = Attribution(lookback_us=told.choice((2, 10)) * DAY_US, since_last_conversion=seed % 2 == 1)
    events = []
    for _ in range(90):
        at_s = told.choice((told.randrange(20) * DAY, told.randrange(20 * DAY), told.randrange(40) * 1800))
        device = told.choice(("a", "b", "c", None))
        who = {"anonymous_id": device, "user_id": told.choice((None, None, "u1", "u2")), "seq": told.choice((None, 1))}
        if told.random() < 0.2:
            events.append(order(at_s, told.randrange(12), told.randrange(100) / 7, **who))
            continue
        came = told.choice(({}, SEARCH, {"window": EMAIL}))
        events.append(said(told.choice(("page", "page", "Product Viewed")), at_s, **came, **who))
    warehouse = built(*events, definitions=Definitions(attribution=rules), at=NOON + timedelta(days=60))
    credit, runs = naive_touches(warehouse, rules)
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for event_id, model, touch_no, share in warehouse.execute(
        "select event_id, model, touch_no, credit from marts.attribution_touches"
    ):
        found[event_id, model][touch_no] = share
    assert dict(found) == credit
    ways = warehouse.execute("select person_id, touch_n, path from marts.attribution_runs order by all")
    assert sorted(ways) == runs
    revenue = warehouse.value("select sum(revenue_amt) from core.orders where not is_bot")
    for model in MODELS:
        given = "select sum(revenue_amt) from marts.attribution where model = $model"
        assert warehouse.value(given, {"model": model}) == revenue
