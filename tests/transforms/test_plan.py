"""The tracking plan: what breaks it is told, and each planned event has a typed view that BI can read."""

from __future__ import annotations

import subprocess
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

import config
from tests.transforms.visits import NOON, built, said
from transforms.definitions import Definitions, Funnel, Journey, Retention, Site, Step
from transforms.publish import publish
from warehouse import open_warehouse

PLAN = """
[[source]]
name = "web"
[[event]]
name = "Product Viewed"
required = ["product_id", "seen at"]
[event.properties]
product_id = "text"
price = "number"
stock = "integer"
is_new = "boolean"
"seen at" = "time"
tags = "list"
maker = "object"
source = "text"
"""
WHOLE = {
    "product_id": "p1",
    "price": 9.5,
    "stock": 3,
    "is_new": True,
    "seen at": "2026-05-04T14:00:00+02:00",
    "tags": ["a"],
    "maker": {"name": "m"},
    "source": "list",
}


def planned(text: str = PLAN) -> Definitions:
    return msgspec.convert(config.read(text, {}).definitions(), Definitions)


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({}, []),
        ({"price": None, "tags": None}, []),
        ({"product_id": None}, ["product_id: missing"]),
        ({"product_id": 7}, ["product_id: number instead of text"]),
        ({"price": "9.5"}, ["price: text instead of number"]),
        ({"stock": 3.0}, []),
        ({"stock": 3.5}, ["stock: number instead of integer"]),
        ({"stock": 10**30}, []),
        ({"is_new": 1, "seen at": "soon"}, ["is_new: number instead of boolean", "seen at: text instead of time"]),
        ({"tags": "a", "maker": ["m"]}, ["maker: array instead of object", "tags: text instead of list"]),
    ],
)
def test_what_breaks_the_plan_is_told(changed: dict[str, Any], problems: list[str]) -> None:
    warehouse = built(said("Product Viewed", 0, WHOLE | changed), said("Other", 1), definitions=planned())
    rows = warehouse.execute("select property || ': ' || problem from core.violations order by all")
    assert [row[0] for row in rows] == problems


def test_an_event_that_breaks_the_plan_is_counted_all_the_same_and_checked_anew_with_another_plan() -> None:
    events = [said("Product Viewed", 0, {}), said("Product Viewed", 5, WHOLE)]
    warehouse = built(*events, definitions=planned())
    count = "select count(*), count(distinct event_no) from core.violations"
    assert warehouse.execute(count) == [(2, 1)]
    assert warehouse.value("select sum(event_n)::int from core.sessions") == 2
    built(said("Product Viewed", 9, {}), definitions=planned(), into=warehouse)
    assert warehouse.execute(count) == [(4, 2)]
    built(definitions=planned(PLAN.replace('required = ["product_id", "seen at"]', "")), into=warehouse)
    assert warehouse.execute(count) == [(0, 0)]


def publish_plan(home: Path, text: str = PLAN) -> None:
    warehouse = open_warehouse(home / "warehouse.duckdb")
    try:
        events = [said("Product Viewed", 0, WHOLE), said("Product Viewed", 5, {"stock": "x"})]
        built(*events, definitions=planned(text), into=warehouse)
        publish(warehouse, home, planned(text), events_days=30, version="1", now=NOON + timedelta(days=3))
        # Once more into a copy of the file that is there.
        built(said("Product Viewed", 60, WHOLE), definitions=planned(text), into=warehouse)
        publish(warehouse, home, planned(text), events_days=30, version="1", now=NOON + timedelta(days=3))
    finally:
        warehouse.close()


def test_a_planned_event_has_a_typed_view(tmp_path: Path) -> None:
    publish_plan(tmp_path)
    with duckdb.connect(str(tmp_path / "bi.duckdb"), read_only=True) as con:
        con.execute("set timezone = 'Asia/Tokyo'")
        rows = con.execute(
            "select product_id, price, stock, is_new, seen_at, tags, property_source, source, violations "
            "from marts.event_product_viewed order by event_at"
        ).fetchall()
        described = con.execute(
            "select data_type, description from meta.data_dictionary "
            "where table_name = 'event_product_viewed' and column_name = 'price'"
        ).fetchall()
        check = con.execute("select value, is_ok from meta.quality where check_name = 'events that break the plan'")
        quality = check.fetchall()
        comments = con.execute("select comment from duckdb_views() where view_name = 'event_product_viewed'").fetchall()
    whole = ("p1", 9.5, 3, True, datetime(2026, 5, 4, 12), '["a"]', "list", "web", None)
    broken = "product_id: missing; seen at: missing; stock: text instead of integer"
    assert rows == [whole, (*[None] * 7, "web", broken), whole]
    assert described == [("DOUBLE", "property price, planned as number, optional; null: absent, or no such value")]
    assert quality == [(1, False)]
    assert "Product Viewed" in comments[0][0]


def test_a_view_shows_null_where_a_value_is_not_of_its_type(tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path / "warehouse.duckdb")
    values = [{"stock": 2.5, "tags": "a", "maker": [1]}, {"stock": 2**53 + 1}, {"stock": "3.0", "maker": {"name": "m"}}]
    events = [said("Product Viewed", number, each) for number, each in enumerate(values)]
    built(*events, definitions=planned(), into=warehouse)
    publish(warehouse, tmp_path, planned(), events_days=30, version="1", now=NOON + timedelta(days=3))
    warehouse.close()
    with duckdb.connect(str(tmp_path / "bi.duckdb"), read_only=True) as con:
        rows = con.execute("select stock, tags, maker from marts.event_product_viewed order by event_at").fetchall()
    assert rows == [(None, None, None), (2**53 + 1, None, None), (3, None, '{"name":"m"}')]


def test_a_pattern_that_matches_nothing_or_everything_is_told(tmp_path: Path) -> None:
    definitions = Definitions(
        funnels=(Funnel("f", (Step(page="/nowhere"), Step(event="*"), Step(event="Product *"))),),
    )
    warehouse = open_warehouse(tmp_path / "warehouse.duckdb")
    built(said("page", 0), said("Product Viewed", 1), definitions=definitions, into=warehouse)
    publish(warehouse, tmp_path, definitions, events_days=30, version="1", now=NOON + timedelta(days=3))
    found = warehouse.execute("select section, place, pattern, matched_n, problem from meta.definitions")
    assert found == [
        ("site", "key_events", "Order Completed", 0, "no event matches"),
        ("funnel", "step 1", "/nowhere", 0, "no event matches"),
        ("funnel", "step 2", "*", 2, "every event matches"),
        ("funnel", "step 3", "Product *", 1, None),
    ]
    check = "select value, is_ok from meta.quality where check_name = 'patterns that no event matches'"
    assert warehouse.execute(check) == [(2, False)]
    warehouse.close()


def test_a_definition_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    viewed, page = Step("Product Viewed"), Step(page="/*")
    definitions = Definitions(
        site=Site(key_events=()),
        funnels=(
            Funnel("value", (viewed, Step("Product Viewed", where={"colour": "green"}), viewed), breakdown="plann"),
            Funnel("split", (viewed, viewed), breakdown="price"),
            Funnel("later", (viewed, viewed), entry_period="all", from_=date(2031, 1, 1)),
        ),
        retentions=(
            Retention("r", Step(page="/*", where={"path": "/b"}), viewed, period="day", breakdown="plann"),
            Retention("sum", viewed, viewed, period="day", value="sum(prize)"),
        ),
        journeys=(
            Journey("no station", start=viewed),
            Journey("station", start=viewed, events=("Product *",)),
            Journey("hidden", end=page, exclude=("/*",)),
            Journey("all"),
            Journey("none", include=("/nowhere",)),
        ),
    )
    warehouse = open_warehouse(tmp_path / "warehouse.duckdb")
    price = {"price": 1}
    built(
        said("page", 0),
        said("Product Viewed", 1, price),
        said("Product Viewed", 2, price),
        definitions=definitions,
        into=warehouse,
    )
    publish(warehouse, tmp_path, definitions, events_days=30, version="1", now=NOON + timedelta(days=3))
    found = warehouse.execute("select name, place, problem from meta.definitions where problem is not null")
    assert found == [
        ("value", "step 2", "nobody reaches it"),
        ("value", "breakdown", "no entry has a value"),
        ("later", "step 1", "nobody yet: its time is not over"),
        ("r", "start", "nobody enters"),
        ("sum", "returns", "nobody returns"),
        ("sum", "value", "no return has a value"),
        ("no station", "start", "no way has it"),
        ("hidden", "end", "no way has it"),
        ("none", "include", "no way is left"),
    ]
    later = "select distinct reached_n, reached_n_to_date, is_complete from marts.funnel_steps where funnel = 'later'"
    assert warehouse.execute(later) == [(None, 0, False)]
    check = "select value, is_ok from meta.quality where check_name = 'definitions that nothing comes of'"
    assert warehouse.execute(check) == [(9, False)]
    warehouse.close()


def test_older_duckdb_reads_the_view(tmp_path: Path, older_duckdb: Path) -> None:
    publish_plan(tmp_path)
    program = (
        "import duckdb, sys\n"
        "con = duckdb.connect(sys.argv[1], read_only=True)\n"
        "print(con.execute('select price, seen_at, violations from marts.event_product_viewed').fetchall())\n"
    )
    ran = subprocess.run(
        [older_duckdb, "-c", program, tmp_path / "bi.duckdb"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.count("(9.5, datetime.datetime(2026, 5, 4, 12, 0), None)") == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "A *"', '"name" must be one event, not a pattern'),
        ('name = "A"\nproperties = { "b c" = "text", b_c = "text" }', 'the properties "b c" and "b_c" would both be'),
        ('name = "A"\nproperties = { b = "int" }', 'must be one of "text", "number", "integer"'),
        ('name = "A b"\n[[event]]\nname = "a-b"', '"A b" and "a-b" would both be the view marts.event_a_b'),
        ('name = "A"\n[[event]]\nname = "A"', 'two [[event]] have the name "A"'),
    ],
)
def test_a_plan_that_cannot_be_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(config.ConfigError) as error:
        config.read(f'[[source]]\nname = "web"\n[[event]]\n{text}\n', {})
    assert sentence in str(error.value)


def test_names_in_other_letters_get_names_that_every_tool_takes() -> None:
    text = '[[source]]\nname = "web"\n[[event]]\nname = "Заказ"\nproperties = { "цена" = "number", "2nd" = "text" }\n'
    (event,) = planned(text).events
    assert event.view.isascii()
    assert event.view.isidentifier()
    assert all(each.column.isascii() and each.column.isidentifier() for each in event.properties)
    assert (
        built(said("Заказ", 0, {"цена": "x"}), definitions=planned(text)).value("select problem from core.violations")
        == "text instead of number"
    )
