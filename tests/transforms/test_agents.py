"""User agents: real strings, and all of a real server's log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms import agents, rules
from transforms.rules import BotRule
from warehouse import SQL, open_warehouse

TESTDATA = Path(os.environ.get("FOOTFALL_TESTDATA", "../shared/data"))
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.fixture(scope="module")
def shipped() -> Iterator[list[BotRule]]:
    warehouse = open_warehouse(None)
    rules.load(warehouse, SQL / "0_rules")
    yield rules.bot_rules(warehouse)
    warehouse.close()


PEOPLE = [
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/142.0.0.0 Safari/537.36",
     "desktop", "Chrome", "Windows"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
     "Safari/605.1.15", "desktop", "Safari", "Mac OS X"),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
     "desktop", "Firefox", "Ubuntu"),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/140.0.0.0 Safari/537.36",
     "desktop", "Chrome", "Chrome OS"),
    ("Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0; Tablet PC 2.0)",
     "desktop", "IE", "Windows"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
     "Version/18.1 Mobile/15E148 Safari/604.1", "mobile", "Mobile Safari", "iOS"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36",
     "mobile", "Chrome Mobile", "Android"),
    ("Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A)", "mobile", "Android", "Android"),
    ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
     "Mobile/15E148 Safari/604.1", "tablet", "Mobile Safari", "iOS"),
    (f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Chrome/142.0.0.0 Safari/537.36",
     "tablet", "Chrome", "Android"),
    (f"Mozilla/5.0 (Linux; Android 9; KFTRWI) {WEBKIT} Silk/120.4.1 like Chrome/120.0.6099.230 Safari/537.36",
     "tablet", "Amazon Silk", "Android"),
    (f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {WEBKIT} Version/6.0 TV Safari/537.36", "tv", None, "Tizen"),
    (f"Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2) {WEBKIT} Chrome/120.0.0.0 Safari/537.36",
     "tv", "Chrome", None),
    ("Mozilla/5.0 (PlayStation; PlayStation 5/8.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
     "other", None, None),
]  # fmt: skip

BOTS = [
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler", "Googlebot"),
    (f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {WEBKIT} Chrome/142.0.0.0 Mobile "
     "Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler", "Googlebot"),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "crawler", "bingbot"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
     "crawler", "facebookexternalhit"),
    (f"Mozilla/5.0 {WEBKIT}; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "ai_agent", "GPTBot"),
    (f"Mozilla/5.0 {WEBKIT}; compatible; ChatGPT-User/1.0; +https://openai.com/bot",
     "ai_agent", "ChatGPT-User"),
    (f"Mozilla/5.0 {WEBKIT}; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "ai_agent", "ClaudeBot"),
    (f"Mozilla/5.0 {WEBKIT}; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
     "ai_agent", "PerplexityBot"),
    ("CCBot/2.0 (https://commoncrawl.org/faq/)", "ai_agent", "CCBot"),
    ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitor", "UptimeRobot"),
    ("Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "monitor", "Pingdom"),
    (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/142.0.0.0 Safari/537.36",
     "script", "HeadlessChrome"),
    ("curl/8.5.0", "script", "curl"),
    ("Wget/1.21.4", "script", "Wget"),
    ("python-requests/2.32.3", "script", "python-requests"),
    ("Go-http-client/2.0", "script", "Go-http-client"),
    ("okhttp/4.12.0", "script", "okhttp"),
]  # fmt: skip

OWN = [
    ("Java/17.0.9", "script", "Java"),
    ("Ruby", "script", "Ruby"),
    ("kube-probe/1.30", "monitor", "Kubernetes probe"),
    ("ELB-HealthChecker/2.0", "monitor", "Amazon load balancer"),
    ("Mozilla/5.0 (compatible; BeetleBot; )", "crawler", "bot;"),
    ("Some Spider of the year 2031", "crawler", "spider"),
]


@pytest.mark.parametrize(("ua", "device", "browser", "os"), PEOPLE, ids=[ua[:70] for ua, *_ in PEOPLE])
def test_people(shipped: list[BotRule], ua: str, device: str, browser: str | None, os: str | None) -> None:
    row = agents.describe([ua], shipped).row(0, named=True)
    assert (row["is_bot"], row["bot_kind"], row["bot_rule"]) == (False, None, None)
    assert row["device"] == device
    if browser:
        assert row["browser"] == browser
    if os:
        assert row["os"] == os


@pytest.mark.parametrize(("ua", "kind", "name"), BOTS, ids=[name for *_, name in BOTS])
def test_published_patterns_name_bots(shipped: list[BotRule], ua: str, kind: str, name: str) -> None:
    row = agents.describe([ua], shipped).row(0, named=True)
    assert (row["is_bot"], row["bot_kind"]) == (True, kind)
    assert row["bot_rule"].lower() == f"crawler-user-agents: {name}".lower()


@pytest.mark.parametrize(("ua", "kind", "name"), OWN, ids=[name for *_, name in OWN])
def test_own_rules_name_what_the_list_lacks(shipped: list[BotRule], ua: str, kind: str, name: str) -> None:
    row = agents.describe([ua], shipped).row(0, named=True)
    assert (row["is_bot"], row["bot_kind"], row["bot_rule"]) == (True, kind, f"rules.bots: {name}")


def test_the_published_list_knows_kinds_without_our_table() -> None:
    found = agents.describe([ua for ua, *_ in BOTS], [])
    assert found["bot_kind"].to_list() == [kind for _, kind, _ in BOTS]


def test_a_kind_of_ours_counts_where_the_list_says_less() -> None:
    ua = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    row = agents.describe([ua], [BotRule("ours", "*googleBOT*", "ai_agent")]).row(0, named=True)
    assert (row["bot_kind"], row["bot_rule"]) == ("ai_agent", "crawler-user-agents: Googlebot")


def test_the_first_own_rule_that_matches_names_it() -> None:
    own = [BotRule("first", "x*y", "monitor"), BotRule("second", "x*", "script")]
    found = agents.describe(["x.y", "x[y]", "ax.y"], own)
    assert found["bot_rule"].to_list() == ["rules.bots: first", "rules.bots: second", None]


def test_nothing_said_is_no_bot(shipped: list[BotRule]) -> None:
    found = agents.describe(["", None, "-", ""], shipped)
    assert found["ua"].to_list() == ["", "-"]
    assert found.select("device", "browser", "os", "bot_kind", "bot_rule").null_count().row(0) == (2,) * 5
    assert not found["is_bot"].any()
    assert agents.describe([], shipped).schema == agents.SCHEMA


@pytest.mark.parametrize("ua", ["\x00", "\\", "(((((", "ä" * 5000, "*" * 999, "Mozilla/5.0 (" + "a " * 20000])
def test_odd_strings_are_described(shipped: list[BotRule], ua: str) -> None:
    assert agents.describe([ua], shipped)["ua"].to_list() == [ua]


def test_all_agents_of_a_server_log(shipped: list[BotRule]) -> None:
    log = TESTDATA / "apache_logs.log"
    if not log.exists():
        pytest.skip(f"{log} is not here: set FOOTFALL_TESTDATA to the folder of the test data")
    lines = log.read_text(errors="replace").splitlines()
    uas = sorted({found[1] for line in lines if (found := re.search(r'"([^"]*)"\s*$', line))})
    found = agents.describe(uas, shipped)
    assert found["ua"].to_list() == uas
    assert len(uas) == 558
    assert set(found["device"].drop_nulls()) <= {"desktop", "mobile", "tablet", "tv", "other"}
    assert found["bot_kind"].is_null().to_list() == (~found["is_bot"]).to_list()
    assert set(found["bot_kind"].drop_nulls()) <= set(rules.BOT_KINDS)
    counts = found.group_by("device", "bot_kind").len().sort("device", "bot_kind", nulls_last=True)
    print(counts.rows())
    assert 75 <= found["is_bot"].sum() <= 100
    assert 100 <= (found["device"] == "mobile").sum() <= 115
