"""Retention: payloads go after their time, the facts made from them stay, and a build from nothing keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import footfall
import steps
from config import load
from ingest.expire import PAYLOAD, expire
from warehouse import Warehouse

LATER = timedelta(days=400)
LINE = '{{"type":"page","messageId":"m{0}","anonymousId":"a","timestamp":"2026-10-0{0}T10:00:00Z","properties":{{"url":"https://x.example/p{1}"}}}}\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    footfall.init(made)
    return made


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    with steps.opened(home, load(home, {})) as opened:
        yield opened


def take(home: Path, warehouse: Warehouse, *lines: str) -> None:
    file = home / "events.jsonl"
    file.write_text("".join(lines))
    footfall.import_jsonl(file, "web", home)
    steps.land(home, load(home, {}), warehouse)


def payloads(warehouse: Warehouse) -> int:
    held = " or ".join(f"{name} is not null" for name in PAYLOAD)
    return int(warehouse.value(f"select count(*) from raw.events where {held}"))


def facts(warehouse: Warehouse) -> list[object]:
    tables = ("core.events", "core.sessions", "marts.traffic_daily")
    return [warehouse.execute(f"select * from {table} order by all") for table in tables]


def test_payloads_go_after_their_time_and_not_before(home: Path, warehouse: Warehouse) -> None:
    take(home, warehouse, LINE.format(1, "one"), LINE.format(2, "two"), "no json\n")
    steps.build(home, load(home, {}), warehouse)
    assert expire(warehouse, keep=LATER, now=steps.now()).event_n == 0
    assert payloads(warehouse) == 2
    done = expire(warehouse, keep=LATER, now=steps.now() + LATER * 2)
    assert (done.event_n, done.rejected_n) == (2, 1)
    assert payloads(warehouse) == 0
    assert warehouse.value("select count(*) from raw.rejected where bytes is not null") == 0
    again = expire(warehouse, keep=LATER, now=steps.now() + LATER * 2)
    assert (again.event_n, again.rejected_n) == (0, 0)


def test_what_no_build_has_seen_keeps_its_payload(home: Path, warehouse: Warehouse) -> None:
    take(home, warehouse, LINE.format(1, "one"))
    assert expire(warehouse, keep=LATER, now=steps.now() + LATER * 2).event_n == 0
    steps.build(home, load(home, {}), warehouse)
    assert expire(warehouse, keep=LATER, now=steps.now() + LATER * 2).event_n == 1


def test_a_build_from_nothing_keeps_the_facts_of_what_has_expired_and_says_so(home: Path, warehouse: Warehouse) -> None:
    settings = load(home, {})
    take(home, warehouse, LINE.format(1, "one"), LINE.format(2, "two"))
    steps.build(home, settings, warehouse)
    expire(warehouse, keep=LATER, now=steps.now() + LATER * 2)
    take(home, warehouse, LINE.format(3, "three"))
    steps.build(home, settings, warehouse)
    before = facts(warehouse)
    said = steps.build(home, settings, warehouse, full=True)[1]
    assert "keep the facts that were made of them then" in said
    assert facts(warehouse) == before
    paths = warehouse.execute("select path from core.events order by event_no")
    assert paths == [("/pone",), ("/ptwo",), ("/pthree",)]
