"""A funnel without a definition: the same numbers as the defined one, and sentences for what cannot be answered."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.visits import NOON, built, said
from transforms.ask import QuestionError, ask
from transforms.definitions import DAY_US, Definitions, Funnel, Step
from transforms.publish import publish
from warehouse import Warehouse, open_warehouse

DAY = 86_400
STEPS = (Step(page="/"), Step(event="Product Added"), Step(event="Order*"))
DEFINED = Funnel("same", STEPS, window_us=2 * DAY_US, entry_period="all", breakdown="channel")
QUESTION = "/ > Product Added > Order*"


def history() -> list[dict[str, Any]]:
    told = random.Random(7)
    names = ("page", "page", "Product Added", "Order Completed", "Engaged")
    return [
        said(
            told.choice(names),
            told.randrange(20 * DAY),
            {"plan": told.choice(("pro", "free"))},
            anonymous_id=f"d{told.randrange(25)}",
            referrer=told.choice((None, "https://www.google.com/")),
        )
        for _ in range(300)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, Path]]:
    home = tmp_path_factory.mktemp("home")
    warehouse = open_warehouse(home / "warehouse.duckdb")
    definitions = Definitions(funnels=(DEFINED,))
    at = NOON + timedelta(days=21)
    built(*history(), definitions=definitions, at=at, into=warehouse)
    publish(warehouse, home, definitions, events_days=30, version="1", now=at)
    yield warehouse, home / "bi.duckdb"
    warehouse.close()


def test_the_answer_is_that_of_the_defined_funnel(made: tuple[Warehouse, Path]) -> None:
    warehouse, bi = made
    answer = ask(bi, QUESTION, window=timedelta(days=2), by="channel")
    cells = warehouse.execute(
        "select breakdown_value, list(reached_n order by step_no), list(from_start_median_s order by step_no) "
        "from marts.funnel_steps group by breakdown_value"
    )
    assert {row.value: (list(row.reached_n), list(row.from_start_s)) for row in answer.rows} == {
        value: (reached, pytest.approx(seconds)) for value, reached, seconds in cells
    }
    assert answer.total.reached_n == tuple(map(sum, zip(*(row.reached_n for row in answer.rows), strict=True)))
    assert answer.total.reached_n[0] > answer.total.reached_n[2] > 0
    assert (str(answer.first_date), str(answer.last_date), answer.open_n) == ("2026-05-04", "2026-05-23", 0)
    assert str(answer.events_to) == "2026-05-24"


def test_a_property_sets_apart_too(made: tuple[Warehouse, Path]) -> None:
    answer = ask(made[1], QUESTION, window=timedelta(days=2), by="plan")
    assert {row.value for row in answer.rows} == {"pro", "free"}


def test_a_window_longer_than_the_data_gives_what_is_known_so_far(made: tuple[Warehouse, Path]) -> None:
    answer = ask(made[1], QUESTION, window=timedelta(days=40))
    assert answer.open_n > 0
    assert answer.last_date == answer.events_to


def test_twenty_steps_are_answered(made: tuple[Warehouse, Path]) -> None:
    answer = ask(made[1], " > ".join(["/", "Product Added"] * 10), window=timedelta(days=14))
    assert len(answer.total.reached_n) == 20
    assert list(answer.total.reached_n) == sorted(answer.total.reached_n, reverse=True)


def test_a_step_that_everything_meets_is_said(made: tuple[Warehouse, Path]) -> None:
    answer = ask(made[1], "* > Order Completed", window=timedelta(days=2))
    assert answer.notes == ('Step 1, "*", is met by every event: it tells only that somebody was there.',)
    assert answer.total.reached_n[0] > 0


@pytest.mark.parametrize(
    ("question", "by", "sentence"),
    [
        ("Order Completed", None, '"Order Completed" is one step, and a funnel needs two or more'),
        (" > ".join("A" * 21), None, "There are 21 steps; a funnel has 20 at most."),
        ("/ > > Order Completed", None, "Step 2 of "),
        ("/ > Ordr completed", None, 'No event is called "Ordr completed" from 2026-05-04 to 2026-05-24. Did you mean'),
        ("/ > Zzzz", None, 'There are: "page", '),
        ("/about > Product Added", None, 'No page has the path "/about"'),
        (QUESTION, "chanel", 'No "/" has a value of "chanel", neither as a column nor as a property. Did you mean'),
        ("'; drop table x > /", None, "No event is called"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(
    made: tuple[Warehouse, Path], question: str, by: str | None, sentence: str
) -> None:
    with pytest.raises(QuestionError) as error:
        ask(made[1], question, window=timedelta(days=2), by=by)
    assert sentence in str(error.value)
