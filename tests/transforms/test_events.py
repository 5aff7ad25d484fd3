"""When an event happened, on which page, from where, and whether a program made it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.transforms.histories import START, Told, land, warehouse_in_memory
from transforms.definitions import Bots, Definitions, Identity, PageRule, Sessions, Site
from transforms.flow import build
from warehouse import Warehouse

RECEIVED = datetime(2026, 6, 1, 12)
SECOND, HOUR, YEAR = timedelta(seconds=1), timedelta(hours=1), timedelta(days=365)
DEFINITIONS = Definitions(
    site=Site(timezone="Europe/Amsterdam", hosts=("shop.example",), ignore_referrers=("pay.example",)),
    pages=(PageRule("/blog/*", "/blog/:post"), PageRule("/blog/:post", "/blog")),
    sessions=Sessions(ignore=("Beat*",)),
    bots=Bots(max_eps=3, max_day=6),
)


@dataclass(frozen=True)
class Sent(Told):
    """An event of which some fields are given as they are."""

    fields: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        return super().row() | self.fields


def sent(number: int, device: int = 0, minute: int = 600, **fields: Any) -> Sent:
    return Sent(number, device, None, minute, 10, 0, 0, 0, None, "local", fields)


def built(*told: Told) -> Warehouse:
    warehouse = warehouse_in_memory()
    land(warehouse, told, START + timedelta(days=200))
    build(warehouse, DEFINITIONS, key=b"k" * 32, now=START)
    return warehouse


@pytest.mark.parametrize(
    ("occurred", "was_sent", "rule", "happened"),
    [
        (RECEIVED - HOUR, RECEIVED - SECOND, "corrected", RECEIVED - HOUR + SECOND),
        # a clock ten years off is set right by the time of sending, which is off as far
        (RECEIVED - 10 * YEAR - HOUR, RECEIVED - 10 * YEAR, "corrected", RECEIVED - HOUR),
        (RECEIVED + 10 * YEAR - HOUR, RECEIVED + 10 * YEAR, "corrected", RECEIVED - HOUR),
        # offline for forty days
        (RECEIVED - timedelta(days=40), RECEIVED, "corrected", RECEIVED - timedelta(days=40)),
        # the clock was set back between the stamps
        (RECEIVED, RECEIVED - HOUR, "clamped", RECEIVED),
        (RECEIVED - timedelta(days=30), None, "client", RECEIVED - timedelta(days=30)),
        (RECEIVED - timedelta(days=30, milliseconds=1), None, "received", RECEIVED),
        (RECEIVED + SECOND, None, "received", RECEIVED),
        (RECEIVED + 10 * YEAR, None, "received", RECEIVED),
    ],
)
def test_the_clock_of_a_client(occurred: datetime, was_sent: datetime | None, rule: str, happened: datetime) -> None:
    warehouse = built(sent(1, ingest="live", occurred_at=occurred, sent_at=was_sent, received_at=RECEIVED))
    assert warehouse.execute("select ts_rule, event_at from core.events") == [(rule, happened)]


def test_an_import_is_trusted_whatever_it_says() -> None:
    warehouse = built(sent(1, occurred_at=RECEIVED + YEAR, sent_at=RECEIVED, received_at=RECEIVED))
    assert warehouse.execute("select ts_rule, event_at from core.events") == [("trusted", RECEIVED + YEAR)]


def test_paths_are_folded_and_cleaned_rule_by_rule() -> None:
    urls = {
        "https://user@Shop.Example:8443/product/123?x=1#top": ("shop.example", "/product/:id"),
        "https://shop.example": ("shop.example", "/"),
        "//shop.example/a/0123456789abcdef/b": ("shop.example", "/a/:id/b"),
        "/order/6f9619ff-8b86-d011-b42d-00cf4fc964ff": (None, "/order/:id"),
        "https://shop.example/blog/hello": ("shop.example", "/blog"),
        "https://shop.example/a1/12b": ("shop.example", "/a1/12b"),
    }
    warehouse = built(*(sent(number, url=url) for number, url in enumerate(urls)))
    found = warehouse.execute("select host, path from core.events order by event_no")
    assert found == list(urls.values())


def test_own_domains_and_payment_pages_are_no_referrers() -> None:
    referrers = {
        "https://www.google.com/search": "www.google.com",
        "https://shop.example/cart": None,
        "https://help.shop.example/": None,
        "https://secure.pay.example/back": None,
        "https://notshop.example/": "notshop.example",
        "": None,
    }
    warehouse = built(*(sent(number, referrer=referrer or None) for number, referrer in enumerate(referrers)))
    found = [row[0] for row in warehouse.execute("select referrer_host from core.events order by event_no")]
    assert found == list(referrers.values())


def test_the_local_date_is_that_of_the_site() -> None:
    late = datetime(2026, 3, 29, 21, 59), datetime(2026, 3, 29, 22, 0)  # summer time since this morning
    warehouse = built(*(sent(number, occurred_at=at) for number, at in enumerate(late)))
    assert [str(row[0]) for row in warehouse.execute("select date from core.events order by event_no")] == [
        "2026-03-29",
        "2026-03-30",
    ]


def test_which_events_bear_a_session() -> None:
    told = {
        "Order Completed": True,
        "Engaged": False,
        "Email Opened": False,
        "Heartbeat": True,
        "Beat Skipped": False,
        "Survey Answered": True,
    }
    warehouse = built(*(sent(number, name=name, type="track") for number, name in enumerate(told)))
    assert [row[0] for row in warehouse.execute("select is_bearing from core.events order by event_no")] == [
        *told.values()
    ]
    off_site = built(sent(1, name="Survey Answered", type="track", url=None))
    assert off_site.execute("select is_bearing from core.events") == [(False,)]


def test_an_id_on_the_blocklist_stands_for_nobody() -> None:
    rows = [("d-1", "u-1"), ("Kiosk ", "u-1"), ("d-2", " TEST"), ("kiosk", "test")]
    warehouse = warehouse_in_memory()
    told = [sent(number, anonymous_id=device, user_id=user) for number, (device, user) in enumerate(rows)]
    land(warehouse, told, START + timedelta(days=200))
    build(warehouse, Definitions(identity=Identity(id_blocklist=("kiosk", "test"))), key=b"k" * 32, now=START)
    found = warehouse.execute(
        "select device_id is not null, user_person_id is not null from core.events order by event_no"
    )
    assert found == [(True, True), (False, True), (True, False), (False, False)]


def flags(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.execute("select is_bot, bot_kind, bot_rule from core.events order by event_no")


def test_a_device_too_busy_for_a_person_is_flagged_for_its_whole_date() -> None:
    quick = [sent(number, occurred_at=datetime(2026, 3, 25, 10)) for number in range(4)]
    same_day = sent(10, occurred_at=datetime(2026, 3, 25, 18))
    next_day = sent(11, occurred_at=datetime(2026, 3, 26, 18))
    warehouse = built(*quick, same_day, next_day)
    assert flags(warehouse) == [(True, "script", "max_eps")] * 5 + [(False, None, None)]
    many = [sent(number, minute=number * 60) for number in range(2, 9)]
    assert flags(built(*many)) == [(True, "script", "max_day")] * 7


def test_an_empty_user_agent_counts_against_browsers_only() -> None:
    def one(ingest: str, library: str | None) -> tuple[Any, ...]:
        context = {"library": {"name": library}} if library else {}
        return flags(built(sent(1, ingest=ingest, sent_at=RECEIVED, context=json.dumps(context))))[0]

    assert one("live", "footfall.js") == (True, "script", "empty user agent")
    assert one("import", "footfall.js") == (False, None, None)
    assert one("live", "analytics-python") == (False, None, None)
    assert one("live", None) == (False, None, None)


def test_a_server_that_names_itself_is_no_visiting_program() -> None:
    context = {"ua": "python-requests/2.31", "library": {"name": "analytics-python"}}
    warehouse = built(sent(1, ingest="live", sent_at=RECEIVED, context=json.dumps(context)))
    assert flags(warehouse) == [(False, None, None)]
    assert warehouse.execute("select is_bearing from core.events") == [(False,)]
