"""A scripted visit, and the exact rows that come out at the other end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

Visit = Any  # of conftest.py

TALL = """
<header style="position:fixed;top:0;left:0;width:100%;height:40px"><button id="menu">Menu</button></header>
<main style="height:3000px;padding-top:100px">
  <button id="buy" style="position:absolute;left:200px;top:300px;width:100px;height:40px"
    data-footfall-event="Buy Pressed" data-footfall-plan-name="pro" data-other="x">Buy now</button>
  <ul><li><a href="#one">One</a></li><li><a href="#two" style="display:block;height:20px">Two</a></li></ul>
</main>
<script>document.getElementById("buy").onclick = () => document.title = "Bought"</script>
"""


def test_a_scripted_visit_gives_exactly_its_rows(visit: Visit) -> None:
    url = visit.put("/tall", TALL, parts="clicks")
    page = visit.open(url + "?utm_source=news&utm_medium=email&utm_campaign=may&gclid=abc#top")
    page.wait_for_timeout(1000)
    page.mouse.click(225, 310)
    page.evaluate("scrollTo(0, 600)")
    page.wait_for_timeout(500)
    page.mouse.click(20, 12)
    page.wait_for_timeout(500)
    before = page.evaluate("performance.now()")
    visit.leave(page)
    visit.named("Scroll Reached")
    rows = visit.landed()

    assert [row["name"] for row in rows] == [
        "page", "Element Clicked", "Buy Pressed", "Element Clicked", "Engaged", "Scroll Reached",
    ]  # fmt: skip
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert len({row["page_view_id"] for row in rows}) == len({row["anonymous_id"] for row in rows}) == 1
    assert len({row["session_hint"] for row in rows}) == 1
    assert {row["id_kind"] for row in rows} == {"local"}
    view, buy, declared, menu, engaged, scroll = rows
    assert view["type"] == "page"
    assert view["title"] == "/tall"
    assert view["url"] == url + "?utm_source=news&utm_medium=email&utm_campaign=may&gclid=abc"
    context = view["context"]
    assert context["campaign"] == {"source": "news", "medium": "email", "name": "may"}
    assert context["click_id"] == {"name": "gclid", "value": "abc"}
    assert (context["viewport_w"], context["viewport_h"], context["document_h"]) == (1000, 600, 3000)
    assert context["library"] == {"name": "footfall.js", "version": "0.1.0"}
    assert set(context["extra"]) == {"page"}

    assert buy["properties"] == {
        "selector": "button#buy", "fingerprint": "button|Buy now||1", "tag": "button", "element_id": "buy",
        "text": "Buy now", "capture": "both", "page_x": 225, "page_y": 310, "client_x": 225, "client_y": 310,
        "scroll_x": 0, "scroll_y": 0, "el_x": 0.25, "el_y": 0.25, "target_fixed": False,
    }  # fmt: skip
    assert declared["properties"] == {"plan_name": "pro"}
    fixed = menu["properties"]
    assert fixed["target_fixed"] is True
    assert (fixed["page_x"], fixed["page_y"], fixed["scroll_y"]) == (20, 12, 600)

    spent = engaged["properties"]
    assert sum(each["ms"] for each in spent["intervals"]) == spent["engaged_ms"]
    assert abs(spent["engaged_ms"] - before) < 400
    assert [each["scroll_y"] for each in spent["intervals"]] == [0, 600]
    assert abs(spent["intervals"][1]["ms"] - 1000) < 300
    assert scroll["properties"] == {
        "scroll_max_pct": 40, "scroll_max_px": 1200, "scroll_reversals": 0, "page_leave": True,
    }  # fmt: skip
