"""A scripted visit, and the exact rows that come out at the other end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Visit = Any  # of conftest.py
# How far measured times may lie from those of the page: the script starts a little late, and the page goes a little
# after it was told to; more on a busy machine.
TOO_FEW_MS, TOO_MANY_MS = 250, 500

STUB = """window.footfall=window.footfall||{q:[]};["track","identify","group","reset","consent","variant","survey"]
.forEach(m=>footfall[m]=footfall[m]||((...a)=>new Promise(r=>footfall.q.push([m,a,r]))));"""
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
    page = visit.open(
        url + "?utm_source=news&utm_medium=email&utm_campaign=may&utm_term=t&utm_content=c&fbclid=f&gclid=abc#top"
    )
    page.wait_for_timeout(1000)
    page.mouse.click(225, 310)
    page.evaluate("scrollTo(0, 600)")
    page.wait_for_timeout(500)
    page.mouse.click(20, 12)
    page.wait_for_timeout(500)
    engaged_ms = page.evaluate("performance.now()") - visit.began(page)
    visit.leave(page)
    visit.named("Scroll Reached")
    rows = visit.landed()

    assert [row["name"] for row in rows] == [
        "page", "Buy Pressed", "Element Clicked", "Element Clicked", "Engaged", "Scroll Reached",
    ]  # fmt: skip
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert len({row["page_view_id"] for row in rows}) == len({row["anonymous_id"] for row in rows}) == 1
    assert len({row["session_hint"] for row in rows}) == 1
    assert {row["id_kind"] for row in rows} == {"local"}
    view, declared, buy, menu, engaged, scroll = rows
    assert view["type"] == "page"
    assert view["title"] == "/tall"
    assert (
        view["url"]
        == url + "?utm_source=news&utm_medium=email&utm_campaign=may&utm_term=t&utm_content=c&fbclid=f&gclid=abc"
    )
    context = view["context"]
    assert context["campaign"] == {"source": "news", "medium": "email", "name": "may", "term": "t", "content": "c"}
    assert context["click_id"] == {"name": "gclid", "value": "abc"}
    assert (context["viewport_w"], context["viewport_h"], context["document_h"]) == (1000, 600, 3000)
    assert context["library"] == {"name": "footfall.js", "version": "0.1.0"}
    assert "extra" not in context

    assert buy["properties"] == {
        "selector": "button#buy", "fingerprint": "button|Buy now||1",
        "text": "Buy now", "capture": "both", "page_x": 225, "page_y": 310, "client_x": 225, "client_y": 310,
        "scroll_x": 0, "scroll_y": 0, "el_x": 0.25, "el_y": 0.25, "target_fixed": False,
    }  # fmt: skip
    assert declared["properties"] == {"plan_name": "pro"}
    fixed = menu["properties"]
    assert fixed["target_fixed"] is True
    assert (fixed["page_x"], fixed["page_y"], fixed["scroll_y"]) == (20, 12, 600)

    spent = engaged["properties"]
    assert sum(each["ms"] for each in spent["intervals"]) == spent["engaged_ms"]
    assert -TOO_FEW_MS < spent["engaged_ms"] - engaged_ms < TOO_MANY_MS
    assert [each["scroll_y"] for each in spent["intervals"]] == [0, 600]
    assert 1000 - TOO_FEW_MS < spent["intervals"][1]["ms"] < engaged_ms - 1000 + TOO_MANY_MS
    assert scroll["properties"] == {
        "scroll_max_pct": 40, "scroll_max_px": 1200, "page_leave": True,
    }  # fmt: skip


def test_a_route_of_a_single_page_app_is_a_page_view(visit: Visit) -> None:
    page = visit.open(visit.put("/app", "<div style='height:2400px'></div>", parts=""))
    page.wait_for_timeout(300)
    page.evaluate("scrollTo(0, 600)")
    page.wait_for_timeout(100)
    page.evaluate("history.pushState({}, '', '?route=2'); document.title = 'Two'; scrollTo(0, 0)")
    page.wait_for_timeout(300)
    page.evaluate("history.replaceState({}, '', '?route=2')")
    page.evaluate("history.replaceState({}, '', '?route=2#part')")
    page.evaluate("history.replaceState({}, '', '?route=3')")
    page.wait_for_timeout(200)
    page.go_back()
    page.wait_for_timeout(200)
    visit.leave(page)
    visit.arrived(lambda rows: len([row for row in rows if row["name"] == "Scroll Reached"]) == 4)
    rows = visit.landed()
    views = [row for row in rows if row["name"] == "page"]
    assert [row["url"].partition("?")[2] for row in views] == ["", "route=2", "route=3", ""]
    assert [row["title"] for row in views][:2] == ["/app", "Two"]
    assert len({row["page_view_id"] for row in views}) == 4
    reached = [row["properties"]["scroll_max_pct"] for row in rows if row["name"] == "Scroll Reached"]
    assert reached == [50, 25, 25, 50]  # the browser scrolls back to where the first view was left
    by_view = [row["page_view_id"] for row in rows if row["name"] == "Scroll Reached"]
    assert by_view == [row["page_view_id"] for row in views]


def test_the_hash_counts_where_the_source_asks(visit: Visit) -> None:
    page = visit.open(visit.put("/hash", "x", parts="", hash=""))
    page.evaluate("location.hash = '#/two'")
    page.wait_for_timeout(150)
    visit.leave(page)
    assert [row["url"].partition("#")[2] for row in visit.named("page", 2)] == ["", "/two"]


FRICTION = """
<button id="dead">Dead</button> <button id="alive">Alive</button> <button id="gone">Gone</button>
<input id="field"> <a id="link" href="#nowhere">Link</a> <p id="out">-</p>
<script>
  alive.onclick = () => out.textContent += "x";
  gone.onclick = () => gone.remove();
</script>
"""


def test_rage_and_dead_clicks_are_told_and_only_those(visit: Visit) -> None:
    url = visit.put("/friction", FRICTION, parts="friction")
    elsewhere, page = visit.open(url), visit.open(url)
    page.wait_for_function(f"performance.getEntriesByName('{visit.collector.url}/footfall.friction.js').length")
    page.wait_for_timeout(100)
    page.click("#gone")
    page.wait_for_timeout(150)  # from here on no selection and no scroll answers for it
    for _ in range(4):
        page.click("#alive")
    page.click("#field")
    page.click("#alive")
    page.click("#alive")
    elsewhere.click("#link")  # the browser goes somewhere, and nothing changes here
    page.click("#dead")
    page.evaluate("void footfall.variant('late', {a: 1})")  # loads a part, which is no answer to the click
    page.wait_for_timeout(2700)
    visit.leave(elsewhere)
    visit.leave(page)
    visit.named("Scroll Reached", 2)
    friction = [row for row in visit.landed() if row["name"] in ("Rage Clicked", "Dead Clicked", "Element Clicked")]
    assert [(row["name"], row["properties"]["selector"]) for row in friction] == [
        ("Rage Clicked", "button#alive"),
        ("Dead Clicked", "button#dead"),
    ]
    rage, dead = (row["properties"] for row in friction)
    assert rage["click_n"] == 4
    assert 2500 <= dead["delay_ms"] < 2700
    assert dead["capture"] == "both"


def test_scrolling_back_and_forth_is_counted(visit: Visit) -> None:
    page = visit.open(visit.put("/scroll", "<div style='height:6000px'></div>", parts="friction"))
    page.wait_for_timeout(200)
    for y in (500, 450, 900, 300, 1200, 1150, 200):
        page.evaluate(f"new Promise(done => {{ scrollTo(0, {y}); requestAnimationFrame(() => setTimeout(done, 30)) }})")
    visit.leave(page)
    (reached,) = visit.named("Scroll Reached")
    assert reached["properties"]["scroll_reversals"] == 3
    assert reached["properties"]["scroll_max_px"] == 1800


def test_time_counts_only_while_visible_and_focused(visit: Visit) -> None:
    page = visit.open(visit.put("/focus", "x", parts=""))
    visit_began = visit.began(page)
    page.wait_for_timeout(500)
    clock = "performance.now()"
    blurred = page.evaluate(f"dispatchEvent(new Event('blur')) && {clock}")
    page.wait_for_timeout(500)
    focused = page.evaluate(f"dispatchEvent(new Event('focus')) && {clock}")
    page.wait_for_timeout(300)
    # A tab of Playwright's is always visible, so what the browser says of it is said here.
    show = """(state) => {
        Object.defineProperty(document, "hidden", {get: () => state === "hidden", configurable: true});
        document.dispatchEvent(new Event("visibilitychange")); return performance.now() }"""
    hidden = page.evaluate(show, "hidden")
    visit.named("Scroll Reached")
    shown = page.evaluate(show, "visible")
    page.wait_for_timeout(300)
    left = page.evaluate(clock)
    visit.leave(page)
    visit.named("Engaged", 2)
    rows = visit.landed()
    first, second = (row["properties"]["engaged_ms"] for row in rows if row["name"] == "Engaged")
    assert -TOO_FEW_MS < first - (hidden - visit_began - (focused - blurred)) < TOO_MANY_MS
    assert -TOO_FEW_MS < second - (left - shown) < TOO_MANY_MS
    (reached,) = (row["properties"] for row in rows if row["name"] == "Scroll Reached")
    assert reached["page_leave"] is False
    assert len({row["page_view_id"] for row in rows}) == 1


def test_the_pointer_is_followed_only_when_asked(visit: Visit) -> None:
    page = visit.open(visit.put("/moves", "<div style='height:3000px'>x</div>", parts="moves", moves="0.999999"))
    page.wait_for_timeout(200)
    page.evaluate("scrollTo(0, 400)")
    page.mouse.move(100, 50)
    page.mouse.move(300, 200)
    page.wait_for_timeout(700)
    visit.leave(page)
    (moved,) = visit.named("Pointer Moved")
    assert moved["properties"]["points"] == [{"page_x": 300, "page_y": 600, "target_fixed": False}]
    assert moved["properties"]["sample_rate"] == 0.999999


def test_errors_are_told_once_without_what_is_personal(visit: Visit) -> None:
    page = visit.open(visit.put("/errors", "x", parts="errors"))
    page.wait_for_timeout(200)
    raised = "setTimeout(() => { throw new TypeError('no user jane.doe@example.com in 4711') })"
    page.evaluate(raised)
    page.evaluate(raised.replace("4711", "4712"))
    page.evaluate("void Promise.reject(new RangeError('too far'))")
    page.wait_for_timeout(100)
    visit.leave(page)
    first, second = (row["properties"] for row in visit.named("Error Raised", 2))
    assert first["message"] == "no user :mail in 4711"
    assert (first["kind"], first["handled"], first["line"] > 0) == ("TypeError", False, True)
    assert len(first["message_hash"]) == 16
    assert (second["kind"], second["message"]) == ("RangeError", "too far")
    visit.errors.clear()  # those were the page's own


EARLY = """<button id="b" onclick="this.remove()">B</button>
<script>
  const waiting = setInterval(() => {
    if (!window.footfall?.version) return;
    clearInterval(waiting);
    b.click();
    setTimeout(() => { throw new TypeError("too early") });
    Promise.reject(new RangeError("too early as well"));
  });
</script>"""


def test_what_happens_before_a_part_has_come_is_not_missed(visit: Visit) -> None:
    page = visit.context.new_page()
    held: list[Any] = []
    page.route("**/footfall.errors.js", lambda route: held.append(route))
    page.goto(visit.put("/early", EARLY, parts="clicks errors"), wait_until="commit")
    page.wait_for_timeout(700)
    assert page.evaluate("!document.getElementById('b')")
    released = datetime.now(UTC)
    held[0].continue_()
    page.wait_for_timeout(500)
    visit.leave(page)
    (clicked,) = visit.named("Element Clicked")
    raised = visit.named("Error Raised", 2)
    assert clicked["properties"]["selector"] == "button#b"
    assert sorted(row["properties"]["message"] for row in raised) == ["too early", "too early as well"]
    # They are told with the time at which they happened, which is before their part was let through.
    assert all(datetime.fromisoformat(row["occurred_at"]) < released for row in raised)


def test_a_form_tells_its_fields_and_never_what_was_typed(visit: Visit) -> None:
    form = """<form id="signup" class="big" data-footfall-event="Signup Sent"><input name="id" value="secret-1">
      <input name="mail" type="email"><input type="password" name="pw"><select name="plan"><option>secret-2</select>
      <textarea name="note"></textarea><button name="go">Go</button></form>
      <script>document.forms[0].onsubmit = (event) => event.preventDefault()</script>"""
    page = visit.open(visit.put("/form", form, parts="forms clicks"))
    page.wait_for_timeout(200)
    page.fill("[name=mail]", "secret@example.com")
    page.fill("[name=pw]", "secret-3")
    page.fill("textarea", "secret-4")
    page.click("button")
    visit.leave(page)
    (row,) = visit.named("Form Submitted")
    assert row["properties"] == {
        "form_id": "signup",
        "form_classes": "big",
        "fields": [
            {"name": "id", "tag": "input", "type": "text"},
            {"name": "mail", "tag": "input", "type": "email"},
            {"name": "pw", "tag": "input", "type": "password"},
            {"name": "plan", "tag": "select"},
            {"name": "note", "tag": "textarea"},
            {"name": "go", "tag": "button"},
        ],
    }
    assert len(visit.named("Signup Sent")) == 1
    assert "secret" not in str(visit.landed())


def test_a_page_is_outlined_once_a_day(visit: Visit) -> None:
    url = visit.put("/outline", TALL, parts="outline", release="r1")
    for _ in range(2):
        page = visit.open(url)
        page.evaluate("scrollTo(0, 500)")
        page.wait_for_timeout(1300)
        visit.leave(page)
    visit.named("Scroll Reached", 2)
    (outlined,) = (row for row in visit.landed() if row["name"] == "Page Outlined")
    boxes = {box.pop("selector"): box for box in outlined["properties"]["boxes"]}
    assert boxes["button#buy"] == {"x": 200, "y": 300, "w": 100, "h": 40, "is_fixed": False}
    (bar,) = (box for selector, box in boxes.items() if "header" in selector)
    assert [bar[name] for name in ("x", "y", "h", "is_fixed")] == [0, 0, 40, True]
    assert outlined["properties"]["viewport_band"] == "tablet"
    assert outlined["context"]["extra"]["release"] == "r1"


def test_a_variant_stays_and_is_told_once_a_page_view(visit: Visit) -> None:
    url = visit.put("/variant", "x", parts="")
    page = visit.open(url)
    ask = "() => Promise.all([...Array(41).keys()].map((n) => footfall.variant(`test ${n % 40}`, {a: 1, b: 1})))"
    first = page.evaluate(ask)
    assert first[40] == first[0]
    assert 5 < first.count("a") < 35
    page = visit.open(url, page)
    assert page.evaluate(ask) == first
    visit.leave(page)
    told = [row["properties"] for row in visit.named("Experiment Viewed", 80)]
    assert len(told) == 80
    assert told[0] == {"experiment": "test 0", "variant": first[0]}


def test_calls_before_the_tracker_are_kept_for_it(visit: Visit) -> None:
    url = visit.put("/stub", "x", parts="")
    html, headers = visit.site.pages[f"/{visit.source}/stub"]
    calls = "footfall.identify('u1', {plan: 'pro'}); footfall.track('Early', {n: 1});"
    calls += "footfall.variant('v', {only: 1}).then((got) => window.got = got); footfall.group('g1')"
    html = html.replace("<script", f"<script>{STUB}{calls}</script><script", 1)
    visit.site.pages[f"/{visit.source}/stub"] = (html, headers)
    page = visit.open(url)
    page.wait_for_function("window.got === 'only'")
    page.evaluate("footfall.reset(); footfall.track('After')")
    visit.leave(page)
    rows = {row["name"]: row for row in visit.arrived(lambda rows: any(row["name"] == "After" for row in rows))}
    assert rows["Early"]["properties"] == {"n": 1}
    assert rows["identify"]["traits"] == {"plan": "pro"}
    assert rows["Early"]["user_id"] == rows["identify"]["user_id"] == "u1"
    assert rows["group"]["properties"] == {"group_id": "g1"}
    assert "user_id" not in rows["After"]
    assert rows["After"]["anonymous_id"] != rows["Early"]["anonymous_id"]


def test_hostile_elements_are_cut_and_break_nothing(visit: Visit) -> None:
    page = visit.open(visit.put("/hostile", "<div id=here></div>", parts="clicks friction outline"))
    page.wait_for_timeout(200)
    page.evaluate("""() => {
        const big = document.createElement("button");
        big.id = big.className = big.textContent = "m".repeat(1 << 20);
        big.setAttribute("role", "r".repeat(1 << 20));
        big.style.cssText = "display:block;width:200px;height:50px;overflow:hidden";
        let deep = here;
        for (let n = 0; n < 400; n++) deep = deep.appendChild(document.createElement("section"));
        deep.append(big);
        big.onclick = () => big.remove();
        big.click();
        here.append(big);
    }""")
    page.mouse.click(10, 10)
    page.evaluate("footfall.track('Circle', (() => { const me = {}; me.me = me; return me })())")
    page.wait_for_timeout(1300)
    visit.leave(page)
    by_script, by_hand = (row["properties"] for row in visit.named("Element Clicked", 2))
    for place in (by_script, by_hand):
        assert len(place["selector"]) <= 500
        assert len(place["fingerprint"]) == 114
        assert len(place["text"]) == 100
    assert by_script["capture"] == "element"
    assert "page_x" not in by_script
    assert (by_hand["page_x"], by_hand["el_x"], by_hand["el_y"]) == (10, 0.05, 0.2)
    assert [row["name"] for row in visit.named("Page Outlined")] == ["Page Outlined"]


def test_unusual_elements_have_a_place_too(visit: Visit) -> None:
    body = """<form id="form" style="width:300px;height:100px"><input name="id" style="float:right"></form>
      <svg width="300" height="100"><a href="#svg" id="a"><rect width="300" height="100"/></a></svg>
      <div id="host" style="position:fixed;top:300px;left:0"></div>
      <script>
        host.attachShadow({mode: "open"}).innerHTML = "<button style='width:100px;height:50px'>In</button>";
      </script>"""
    page = visit.open(visit.put("/unusual", body, parts="clicks"))
    page.wait_for_timeout(200)
    for y in (50, 150, 325):
        page.mouse.click(20, y)
    visit.leave(page)
    form, link, shadow = (row["properties"] for row in visit.named("Element Clicked", 3))
    assert form["selector"] == "form#form"
    assert link["href"] == "#svg"
    assert (shadow["selector"], shadow["text"], shadow["target_fixed"]) == ("div#host>button", "In", True)


def test_web_vitals_come_when_asked_for(visit: Visit) -> None:
    page = visit.open(visit.put("/vitals", "<h1>Big</h1>", parts="vitals"))
    page.wait_for_timeout(300)
    visit.leave(page)
    vitals = {row["properties"]["metric"]: row["properties"] for row in visit.named("Web Vital", 3)}
    assert {"FCP", "TTFB", "CLS"} <= set(vitals)
    assert vitals["CLS"] == {"metric": "CLS", "value": 0, "rating": "good"}
    assert 0 < vitals["FCP"]["value"] < 10_000
