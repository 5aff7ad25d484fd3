"""Programs as an audience of their own, and what a changed rule moves."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from tests.transforms.visits import KEY, NOON, built, said
from transforms.definitions import Bots, Definitions
from transforms.flow import build
from warehouse import SQL

AGENT = {"ua": "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"}
OWN = {"ua": "OurChecker/1.0"}
EVENTS = [
    said("page", 0),
    said("page", 0, anonymous_id="a", window=AGENT),
    said("page", 60, anonymous_id="a", window=AGENT),
    said("page", 0, anonymous_id="o", window=OWN),
    said("Product Viewed", 9, anonymous_id="o", window=OWN),
]
DAILY = "select bot_kind, bot_rule, visitor_n, session_n, page_view_n, event_n from marts.bots_daily order by all"


def test_programs_have_numbers_of_their_own() -> None:
    warehouse = built(*EVENTS)
    assert warehouse.execute(DAILY) == [("ai_agent", "crawler-user-agents: GPTBot", 1, 1, 2, 2)]
    assert warehouse.value("select bot_kind from core.sessions where is_bot") == "ai_agent"


def test_an_event_without_a_rule_goes_with_its_session() -> None:
    events = [said("page", 0, window=AGENT), said("Product Viewed", 5)]
    assert built(*events).execute(DAILY) == [("ai_agent", "crawler-user-agents: GPTBot", 1, 1, 1, 2)]


def test_a_changed_rule_tells_what_it_moved(tmp_path: Path) -> None:
    folder = tmp_path / "0_rules"
    shutil.copytree(SQL / "0_rules", folder)
    warehouse = built(*EVENTS, rules_folder=folder)
    assert warehouse.value("select count(*) from meta.bot_changes") == 0
    with (folder / "bots.csv").open("a") as rules:
        rules.write("checker,OurChecker*,,monitor\n")
    done = build(warehouse, Definitions(), key=KEY, now=NOON, rules_folder=folder)
    assert done is not None
    assert done.moved == {"events": (2, 0, 0), "sessions": (1, 0, 0), "visitors": (1, 0, 0)}
    assert warehouse.execute(
        "select counted, was_kind, now_kind, now_rule, moved_n from meta.bot_changes order by 1"
    ) == [
        (counted, None, "monitor", "rules.bots: checker", n)
        for counted, n in (("events", 2), ("sessions", 1), ("visitors", 1))
    ]
    (folder / "bots.csv").write_text((folder / "bots.csv").read_text().replace("checker,", "our checker,"))
    renamed = build(warehouse, Definitions(), key=KEY, now=NOON, rules_folder=folder)
    assert renamed is not None
    assert renamed.moved == {"events": (0, 0, 2), "sessions": (0, 0, 1), "visitors": (0, 0, 1)}
    shutil.copy(SQL / "0_rules" / "bots.csv", folder)
    back = build(warehouse, Definitions(), key=KEY, now=NOON, rules_folder=folder)
    assert back is not None
    assert back.moved == {"events": (0, 2, 0), "sessions": (0, 1, 0), "visitors": (0, 1, 0)}


def test_a_limit_moves_devices_and_another_definition_moves_nobody() -> None:
    busy = [said("Product Viewed", 0, occurred_at=NOON + timedelta(milliseconds=n)) for n in range(6)]
    warehouse = built(said("page", 0), *busy)
    done = build(warehouse, Definitions(bots=Bots(max_eps=5)), key=KEY, now=NOON)
    assert done is not None
    assert done.moved == {"events": (7, 0, 0), "sessions": (1, 0, 0), "visitors": (1, 0, 0)}
    full = build(warehouse, Definitions(bots=Bots(max_eps=5)), key=KEY, now=NOON, full=True)
    assert full is not None
    assert full.moved == {}
