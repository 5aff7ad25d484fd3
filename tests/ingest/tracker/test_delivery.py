"""Nothing is lost and nothing comes twice, nothing breaks the page, and nobody is kept who does not want to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Visit = Any  # of conftest.py
Make = Callable[..., Visit]
KEPT = "Object.keys(localStorage).filter((name) => name.includes(':q')).length"


def test_what_happens_offline_arrives_once_when_the_network_is_back(visit: Visit) -> None:
    page = visit.open(visit.put("/offline", "x", parts=""))
    visit.hurry(page)
    visit.named("page")
    visit.context.set_offline(True)
    for n in range(5):
        page.evaluate(f"footfall.track('Offline', {{n: {n}}})")
    visit.hurry(page)
    assert page.evaluate(KEPT) == 5
    visit.context.set_offline(False)
    rows = visit.named("Offline", 5)
    assert [row["properties"]["n"] for row in rows] == [0, 1, 2, 3, 4]
    page.wait_for_function(f"{KEPT} === 0")
    assert len(visit.collector.lines(visit.source)) == 6


def go_on(visit: Visit, hours: float) -> None:
    """From the next page on, it is later: nobody waits for hours here, nor for ten seconds."""
    shift = f"{{ const now = Date.now; Date.now = () => now() + {round(hours * 3_600_000)} }}"
    visit.context.add_init_script(shift)


def test_what_a_page_could_not_send_the_next_one_sends(visit: Visit) -> None:
    page = visit.open(visit.put("/down", "x", parts="", host="http://127.0.0.1:9"))
    page.evaluate("footfall.track('Left Behind')")
    visit.hurry(page)
    page.evaluate("footfall.track('Left Behind Too')")
    visit.leave(page)
    go_on(visit, 100)
    page = visit.open(visit.put("/up", "x", parts=""))
    visit.hurry(page)
    visit.named("Left Behind")
    visit.named("Left Behind Too")
    page.wait_for_function(f"{KEPT} === 0")
    names = ["Engaged", "Left Behind", "Left Behind Too", "Scroll Reached", "page", "page"]
    assert sorted(row["name"] for row in visit.landed()) == names
    assert len(visit.collector.lines(visit.source)) == len(names)


def test_what_was_sent_on_leaving_is_sent_again_and_counts_once(visit: Visit) -> None:
    url = visit.put("/unheard", "x", parts="")
    page = visit.open(url)
    page.evaluate("footfall.track('Last Words')")
    visit.leave(page)
    visit.named("Scroll Reached")
    go_on(visit, 0.01)
    visit.site.pages["/plain"] = ("<p>no tracker", {})
    page.goto(f"{visit.site.url}/plain")
    unheard = page.evaluate(KEPT)
    assert unheard == 4  # page, Last Words, Engaged, Scroll Reached: nobody heard the answer
    page = visit.open(url, page)
    visit.hurry(page)
    page.wait_for_function(f"{KEPT} === 0")
    assert len(visit.collector.lines(visit.source)) == 4 + 4 + 1
    assert sorted(row["name"] for row in visit.landed()) == ["Engaged", "Last Words", "Scroll Reached", "page", "page"]


def test_what_was_sent_on_leaving_days_ago_is_not_sent_again(visit: Visit) -> None:
    url = visit.put("/unheard", "x", parts="")
    page = visit.open(url)
    visit.leave(page)
    visit.named("Scroll Reached")
    go_on(visit, 49)
    page = visit.open(url, page)
    visit.hurry(page)
    page.wait_for_function(f"{KEPT} === 0")
    names = [row["name"] for row in visit.collector.lines(visit.source)]
    assert sorted(names) == ["Engaged", "Scroll Reached", "page", "page"]


def test_a_collector_that_is_down_breaks_nothing_and_loses_nothing(visit: Visit) -> None:
    page = visit.open(visit.put("/stopped", "<button id=b>B</button>", parts="clicks"))
    visit.hurry(page)
    visit.named("page")
    visit.collector.stop()
    try:
        page.click("#b")
        page.evaluate("footfall.track('While Down')")
        visit.hurry(page)
        assert page.evaluate(KEPT) == 2
    finally:
        visit.collector.start()
    visit.named("While Down")
    visit.leave(page)
    visit.named("Scroll Reached")
    rows = visit.landed()
    assert [row["name"] for row in rows] == ["page", "Element Clicked", "While Down", "Engaged", "Scroll Reached"]


@pytest.mark.parametrize("locks", ["locks", "lease"])
def test_two_tabs_are_one_device_with_one_queue(visit: Visit, locks: str) -> None:
    if locks == "lease":  # as on a page without https
        visit.context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', {get: () => undefined})")
    url = visit.put("/tabs", "x", parts="")
    one, two = visit.open(url), visit.open(url)
    for n in range(20):
        one.evaluate(f"footfall.track('One', {{n: {n}}})")
        two.evaluate(f"footfall.track('Two', {{n: {n}}})")
    visit.named("One", 20)
    visit.named("Two", 20)
    visit.leave(one)
    visit.leave(two)
    visit.arrived(lambda rows: len([row for row in rows if row["name"] == "Scroll Reached"]) == 2)
    rows = visit.landed()
    assert len({row["anonymous_id"] for row in rows}) == len({row["session_hint"] for row in rows}) == 1
    assert len({row["page_view_id"] for row in rows}) == 2
    assert [len([row for row in rows if row["name"] == name]) for name in ("One", "Two", "page")] == [20, 20, 2]
    assert len({row["event_id"] for row in rows}) == len(rows)
    assert len(visit.collector.lines(visit.source)) == len(rows)


def test_what_a_browser_without_keepalive_drops_on_leaving_the_next_page_sends(visit: Visit) -> None:
    url = visit.put("/cut", "x", parts="")
    page = visit.open(url)
    # Such a browser ends the requests of a page with the page.
    page.evaluate("window.fetch = () => new Promise(() => {}); footfall.track('Cut Off')")
    visit.leave(page)
    assert not [row for row in visit.collector.lines(visit.source) if row["name"] == "Cut Off"]
    go_on(visit, 0.01)
    page = visit.open(url, page)
    visit.hurry(page)
    visit.named("Cut Off")
    page.wait_for_function(f"{KEPT} === 0")


def test_large_queues_go_in_several_requests_and_whole(visit: Visit) -> None:
    page = visit.open(visit.put("/large", "x", parts=""))
    page.evaluate("for (let n = 0; n < 30; n++) footfall.track('Large', {n, text: 'é'.repeat(5000)})")
    page.evaluate("footfall.track('Huge', {text: 'h'.repeat(100000)})")
    visit.hurry(page)
    assert sorted(row["properties"]["n"] for row in visit.named("Large", 30)) == list(range(30))
    assert len(visit.named("Huge")[0]["properties"]["text"]) == 100_000


def test_blocked_storage_breaks_nothing(visit: Visit) -> None:
    blocked = """for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name,
        {get() { throw new DOMException("denied", "SecurityError") }});
        const denied = () => Promise.reject(new DOMException("denied", "SecurityError"));
        if (navigator.locks) navigator.locks.request = denied;"""
    visit.context.add_init_script(blocked)
    page = visit.open(visit.put("/blocked", "<button id=b>B</button>"))
    page.wait_for_timeout(200)
    page.click("#b")
    visit.hurry(page)
    assert page.evaluate("footfall.variant('v', {a: 1, b: 1})") == "a"
    visit.named("Element Clicked")
    visit.leave(page)
    rows = visit.arrived(lambda rows: any(row["name"] == "Scroll Reached" for row in rows))
    assert {"page", "Element Clicked", "Engaged", "Scroll Reached"} <= {row["name"] for row in rows}
    assert not any("anonymous_id" in row for row in rows)


def test_full_storage_breaks_nothing(visit: Visit) -> None:
    page = visit.open(visit.put("/full", "x", parts=""))
    page.evaluate("() => { for (let n = 20; n >= 0; n--) try { for (;;) localStorage['x' + n + Math.random()] ="
                  " 'x'.repeat(2 ** n) } catch {} }")  # fmt: skip
    page.evaluate("footfall.track('Full')")
    visit.hurry(page)
    visit.named("Full")


def test_a_strict_policy_is_enough_and_not_broken(visit: Visit) -> None:
    here = visit.collector.url
    headers = {"Content-Security-Policy": f"default-src 'none'; script-src {here}; connect-src {here}"}
    everything = "clicks friction errors outline forms variants vitals survey"
    visit.context.add_init_script(
        "window.broken = [];"
        "addEventListener('securitypolicyviolation', (event) => broken.push(event.violatedDirective))"
    )
    url = visit.put("/strict", "<button id=b>B</button>", headers, parts=everything)
    html, headers = visit.site.pages[f"/{visit.source}/strict"]
    before, _, after = html.partition("<style>")
    visit.site.pages[f"/{visit.source}/strict"] = (before + after.partition("</style>")[2], headers)
    page = visit.open(url)
    page.wait_for_timeout(300)
    page.click("#b")
    # A promise would be waited for.
    page.evaluate("void footfall.survey({id: 's', kind: 'nps', question: 'How likely?'})")
    page.wait_for_selector("#footfall-survey form")
    assert page.evaluate("getComputedStyle(document.getElementById('footfall-survey')).position") == "fixed"
    assert page.evaluate("window.broken") == []
    visit.leave(page)
    visit.named("Scroll Reached")
    assert {"page", "Element Clicked", "Survey Shown"} <= {row["name"] for row in visit.landed()}


def test_a_policy_that_forbids_the_collector_breaks_nothing(visit: Visit) -> None:
    headers = {
        "Content-Security-Policy": f"script-src {visit.collector.url}; connect-src 'none';"
        "require-trusted-types-for 'script'"
    }
    page = visit.open(visit.put("/forbidden", "x", headers))
    assert page.evaluate("footfall.variant('v', {a: 1, b: 1})") is None
    visit.hurry(page)
    assert page.evaluate(KEPT) >= 1
    visit.leave(page)


def test_no_cookies_and_no_layout_shift(visit: Visit) -> None:
    parts = "clicks friction errors outline forms vitals survey"
    page = visit.open(visit.put("/calm", "<h1>Calm</h1><p>text</p>", parts=parts))
    page.evaluate("""void new PerformanceObserver((list) => window.shifts = list.getEntries().length)
        .observe({type: 'layout-shift', buffered: true})""")
    page.evaluate("void footfall.survey({id: 's', kind: 'csat', question: 'Content?'})")
    page.wait_for_selector("#footfall-survey form")
    page.wait_for_timeout(300)
    assert page.evaluate("window.shifts || 0") == 0
    assert visit.context.cookies() == []


def test_a_page_from_the_back_forward_cache_is_a_new_page_view(visit: Visit) -> None:
    page = visit.open(visit.put("/bf", "x", parts="clicks friction errors forms vitals"))
    page.evaluate("addEventListener('pageshow', (event) => window.isBack = event.persisted)")
    visit.site.pages["/plain"] = ("<p>no tracker", {})
    page.goto(f"{visit.site.url}/plain")
    visit.named("Scroll Reached")
    page.evaluate("history.back()")
    page.wait_for_function("window.isBack === true")
    page.evaluate("footfall.track('After')")
    visit.leave(page)
    visit.named("Scroll Reached", 2)
    rows = [row for row in visit.landed() if row["name"] != "Web Vital"]
    names = [row["name"] for row in rows]
    assert [name for name in names if name != "Engaged"] == [
        "page", "Scroll Reached", "page", "After", "Scroll Reached",
    ]  # fmt: skip
    first, second = (row["page_view_id"] for row in rows if row["name"] == "page")
    assert first != second
    assert {row["page_view_id"] for row in rows if row["name"] == "After"} == {second}


ASKS = {
    "gpc": "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})",
    "dnt": "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})",
}


@pytest.mark.parametrize("signal", ASKS)
def test_who_asks_for_privacy_is_counted_without_an_id(visit: Visit, signal: str) -> None:
    visit.context.add_init_script(ASKS[signal])
    page = visit.open(visit.put("/gpc", "x", parts=""))
    page.evaluate("footfall.identify('u1', {name: 'secret'}); footfall.track('Seen')")
    visit.leave(page)
    visit.named("Scroll Reached")
    rows = {row["name"]: row for row in visit.collector.lines(visit.source)}
    assert set(rows) <= {"page", "Seen", "Engaged", "Scroll Reached"}
    assert not any(name in row for row in rows.values() for name in ("anonymous_id", "user_id", "session_hint"))
    assert rows["page"]["context"]["consent"] == {"choice": "anonymise", signal: True}
    page.goto(visit.site.url + f"/{visit.source}/gpc")
    assert page.evaluate("localStorage.length") == 0


def test_a_source_may_decline_them_or_not_listen(make_visit: Make) -> None:
    for policy, n in (("decline", 0), ("ignore", 1)):
        visit = make_visit()
        visit.context.add_init_script(ASKS["gpc"])
        page = visit.open(visit.put(f"/{policy}", "x", parts="", consent=policy))
        page.evaluate("footfall.track('Seen')")
        visit.leave(page)
        page.wait_for_timeout(300)
        rows = [row for row in visit.collector.lines(visit.source) if row["name"] == "Seen"]
        assert len(rows) == n
        assert all("anonymous_id" in row for row in rows)


def test_the_visitors_choice_counts_and_stays(visit: Visit) -> None:
    url = visit.put("/choice", "x", parts="")
    page = visit.open(url)
    page.evaluate("footfall.consent('decline'); footfall.track('Declined')")
    page = visit.open(url, page)
    page.evaluate("footfall.track('Declined Still')")
    assert page.evaluate("Object.keys(localStorage).map((name) => name.split(':')[2])") == ["consent"]
    page.evaluate("footfall.consent('anonymise'); footfall.track('Anonymous')")
    page.evaluate("footfall.consent('grant'); footfall.track('Granted')")
    visit.leave(page)
    visit.named("Granted")
    rows = {row["name"]: row for row in visit.collector.lines(visit.source)}
    assert not {"Declined", "Declined Still"} & set(rows)
    assert "anonymous_id" not in rows["Anonymous"]
    assert rows["Granted"]["anonymous_id"]
    assert rows["Granted"]["context"]["consent"] == {"choice": "grant"}


@pytest.mark.parametrize(("storage", "kept"), [("session", 1), ("none", 0)])
def test_ids_are_kept_where_the_source_says(visit: Visit, storage: str, kept: int) -> None:
    url = visit.put("/kept", "x", parts="", storage=storage)
    page = visit.open(url)
    assert page.evaluate("localStorage.length") == 0
    page = visit.open(url, page)
    assert min(page.evaluate("sessionStorage.length"), 1) == kept
    visit.leave(page)
    rows = visit.named("page", 2)
    assert len({row["anonymous_id"] for row in rows if "anonymous_id" in row}) == kept


def test_parts_load_only_when_asked_for(visit: Visit) -> None:
    loaded = """performance.getEntriesByType('resource').map((each) => each.name.split('/').pop())
        .filter((name) => name.endsWith('.js'))"""
    page = visit.open(visit.put("/default", "x"))
    page.wait_for_timeout(300)
    default = [f"footfall{part}.js" for part in ("", ".friction", ".errors", ".outline", ".forms")]
    assert sorted(page.evaluate(loaded)) == sorted(default)
    page = visit.open(visit.put("/fewer", "x", parts="errors"), page)
    page.wait_for_timeout(300)
    assert sorted(page.evaluate(loaded)) == ["footfall.errors.js", "footfall.js"]


def test_a_survey_can_be_answered_by_keyboard_and_comes_back_late(visit: Visit) -> None:
    url = visit.put("/survey", "<button id=b>B</button>", parts="clicks survey")
    page = visit.open(url)
    survey = {
        "id": "after-order", "name": "After the order", "kind": "nps", "question": "Hoe waarschijnlijk?",
        "comment": "Waarom?", "trigger": {"event": "Order Completed", "page": "*/survey"}, "language": "nl",
        "ref_kind": "order", "ref_id": "o1", "texts": {"send": "Verstuur", "close": "Sluiten"},
    }  # fmt: skip
    page.evaluate(f"window.how = 0; footfall.survey({json.dumps(survey)}).then((how) => window.how = how); 0")
    page.wait_for_timeout(300)
    assert page.locator("#footfall-survey").count() == 0
    page.focus("#b")
    page.evaluate("footfall.track('Order Completed')")
    dialog = page.get_by_role("dialog", name="Hoe waarschijnlijk?")
    dialog.wait_for()
    assert page.get_by_role("radio").count() == 11
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.get_by_role("radio", name="9").check()
    page.get_by_label("Waarom?").fill("  snel  ")
    page.get_by_role("button", name="Verstuur").click()
    page.wait_for_function("window.how === 'answered'")
    assert page.evaluate("document.activeElement.id") == "b"
    assert page.evaluate(f"footfall.survey({json.dumps({**survey, 'id': 'other', 'trigger': {}})})") == "not shown"
    visit.leave(page)
    visit.named("Scroll Reached")
    rows = [row for row in visit.landed() if row["name"].startswith("Survey")]
    assert [row["name"] for row in rows] == ["Survey Shown", "Survey Answered", "Survey Answered"]
    about = {"survey_id": "after-order", "survey_name": "After the order", "language": "nl", "ref_kind": "order"}
    assert about.items() <= rows[0]["properties"].items()
    score, comment = (row["properties"] for row in rows[1:])
    assert (score["question_id"], score["answer"], score["completed"], score["ref_id"]) == ("nps", 9, True, "o1")
    assert (comment["question_id"], comment["question"], comment["answer"]) == ("comment", "Waarom?", "snel")
    assert score["submission_id"] == comment["submission_id"]
    assert not [row for row in visit.landed() if row["name"] == "Element Clicked"]


def test_escape_closes_a_survey_and_gives_the_focus_back(visit: Visit) -> None:
    page = visit.open(visit.put("/escape", "<button id=b>B</button><input id=i>", parts="survey"))
    page.focus("#b")
    page.evaluate("window.how = 0; footfall.survey({id: 's', kind: 'text', question: 'What is missing?'})"
                  ".then((how) => window.how = how); 0")  # fmt: skip
    page.get_by_label("What is missing?").last.wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("window.how === 'dismissed'")
    assert page.evaluate("document.activeElement.id") == "b"
    assert page.locator("#footfall-survey").count() == 0
