"""The report in a browser: it draws, its tables are the data, nothing is called, hostile text stays text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from report.interval import wilson
from report.page import write

NOW = datetime(2026, 11, 21, 15, 0)
HOSTILE = '<img src=x onerror="window.owned=1"></script><script>window.owned=1</script><!--\u202e{a|b}'
UNKNOWN = "\u2013"
NAMES = """meta.build_info.site_name meta.build_info.version meta.quality.check_name meta.restatements.key
    meta.data_dictionary.description marts.funnel_steps.step_name marts.traffic_daily.device
    marts.traffic_daily.country"""
NODES = """marts.traffic_daily.channel marts.traffic_daily.source marts.traffic_totals.source
    marts.funnel_steps.funnel marts.funnel_attempts.next_node marts.funnel_attempts.channel
    marts.retention_cells.retention marts.journey_edges.journey
    marts.journey_edges.to_node marts.journey_edges.from_node marts.journey_paths.path
    marts.heatmap_cells.source marts.heatmap_cells.path marts.heatmap_elements.source marts.heatmap_elements.path
    marts.heatmap_elements.selector marts.heatmap_elements.text marts.scroll_reach.source marts.scroll_reach.path
    core.sessions.start_rule marts.bots_daily.source marts.bots_daily.bot_kind marts.bots_daily.bot_rule
    meta.bot_changes.was_rule meta.bot_changes.now_rule meta.bot_changes.now_kind meta.bot_changes.counted
    marts.friction_pages.source marts.friction_pages.path marts.page_outlines.source marts.page_outlines.path"""
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WATCH = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => window.broken.push(event.violatedDirective));
"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("browser") / "report.html"
    write(sample, out, now=NOW)
    return out


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a report; after the test nothing may have been complained about, called for or blocked."""
    seen: list[str] = []
    contexts = []

    def opened(path: Path, before: str = "", **how: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file:") or seen.append(request.url))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        page.add_init_script(WATCH + before)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.broken") == []
        context.close()
    assert seen == []


def open_tables(page: Page) -> None:
    """A table behind a picture is made when it is opened."""
    page.evaluate("document.querySelectorAll('details.twin').forEach((one) => { one.open = true; })")
    until(page, "[...document.querySelectorAll('details.twin')].every((one) => one.querySelector('table'))")


def until(page: Page, condition: str) -> None:
    """Wait until a condition holds. The page's policy forbids wait_for_function, which evaluates a text in it."""
    page.evaluate(f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame); }}")


def cells(page: Page, caption: str) -> list[list[str]]:
    """The body of the table whose caption begins so, as it is read."""
    open_tables(page)
    found: list[list[str]] = page.evaluate(
        """(caption) => {
          const all = [...document.querySelectorAll("table")];
          const table = all.find((one) => one.caption.textContent.startsWith(caption));
          return [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
        }""",
        caption,
    )
    return found


def test_every_section_draws(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    assert page.title() == "Fern & Field · footfall report"
    assert page.locator("h1").text_content() == "Fern & Field"
    names = "overview channels funnels journeys pages retention lifecycle attribution sessions bots quality".split()
    assert page.evaluate("[...document.querySelectorAll('main > section')].map((one) => one.id)") == names
    for name in names:
        assert page.locator(f"#{name} .card").count() > 0
    assert page.locator(".chart").count() == page.locator(".chart svg").count() == 11
    assert page.locator(".tile").count() == 10
    assert page.locator(".empty").all_text_contents() == [
        "No way that ended in this month is known to have come to nothing; "
        "within the lookback a conversion may still follow."
    ]


def test_definitions_that_nothing_comes_of_are_named(open_page: Callable[..., Page], report: Path) -> None:
    rows = cells(open_page(report), "Definitions that nothing comes of")
    assert rows == [["funnel checkout", "step 2", "Product Aded", "no event matches"]]


def test_an_empty_definition_says_why_and_weeks_are_whole(
    open_page: Callable[..., Page], sample: Path, tmp_path: Path
) -> None:
    bi = shutil.copy(sample, tmp_path / "bi.duckdb")
    with duckdb.connect(str(bi)) as connection:
        for name, reached_n in (("gone", 0), ("weekly", 40)):
            connection.execute(
                "insert into marts.funnel_steps by name"
                " select $name as funnel, 'week' as period, week as period_start, '(all)' as breakdown_value, step_no,"
                " 'Step ' || step_no as step_name, $reached_n // step_no as reached_n,"
                " $reached_n // step_no as reached_n_to_date, 0 as open_n, 0 as excluded_n, true as is_complete"
                " from unnest([date '2026-10-26', date '2026-11-02']) as w(week), range(1, 3) as s(step_no)",
                {"name": name, "reached_n": reached_n},
            )
        connection.execute(
            "insert into meta.definitions values ('funnel', 'gone', 'step 1', '/nowhere', 0, 'no event matches'),"
            " ('journey', 'nowhere', 'end', '/end', 0, 'no event matches')"
        )
    write(Path(bi), tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    assert page.locator("#funnels .card > .empty, #journeys .card > .empty").all_text_contents() == [
        'Nobody entered 26 Oct \N{EN DASH} 8 Nov 2026: step 1 is "/nowhere", no event matches.',
        'No journey: end is "/end", no event matches.',
    ]
    notes = page.locator("#funnels .card", has=page.locator("h3", has_text="weekly")).locator(".note")
    assert (notes.first.text_content() or "").startswith("Entered 26 Oct \N{EN DASH} 8 Nov 2026: 2 complete weeks.")


def test_credits_are_the_data_and_a_month_that_runs_has_no_return(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    rows = cells(page, "Conversions by channel and rule, Nov 2026")
    assert rows[0] == ["Organic Search", "40", "40", "41", "41", "€100", "not over"]
    page.select_option("#attribution select", label="Oct 2026")
    page.click('#attribution [data-choice="revenue"]')
    rows = cells(page, "Revenue by channel and rule, Oct 2026")
    assert rows[1][1:] == [*["€960"] * 4, "€100", "9.6\N{MULTIPLICATION SIGN}"]


def test_every_chart_has_a_table_and_every_table_a_caption(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    open_tables(page)
    assert page.locator("details.twin table").count() >= page.locator(".chart").count()
    assert page.evaluate("[...document.querySelectorAll('table')].every((t) => t.caption.textContent && t.tHead)")


def test_the_table_behind_the_daily_chart_is_the_data(
    open_page: Callable[..., Page], report: Path, sample: Path
) -> None:
    with duckdb.connect(str(sample), read_only=True) as connection:
        expected = connection.execute(
            "select strftime(period_start, '%-d %b %Y'), visitor_n, session_n, order_n,"
            " converted_session_n / nullif(closed_session_n, 0), is_complete"
            " from marts.traffic_totals where source = '(all)' and period = 'day' and not is_bot"
            " and period_start >= '2026-10-24' order by period_start desc"
        ).fetchall()
    shown = cells(open_page(report), "Visitors by day")
    assert len(shown) == len(expected) == 29
    for row, (on, visitors, sessions, orders, conversion, is_complete) in zip(shown, expected, strict=True):
        assert row[0].endswith(on)
        assert (row[1], row[3], row[9]) == (f"{visitors:,}", f"{sessions:,}", f"{orders:,}")
        assert row[8] == (f"{conversion * 100:.1f} %" if is_complete else UNKNOWN)
        assert row[11] == ("yes" if is_complete else "not yet")


def test_big_figures_are_sums_of_complete_days_and_follow_the_range(
    open_page: Callable[..., Page], report: Path, sample: Path
) -> None:
    page = open_page(report)
    for key, since in (("28", "2026-10-24"), ("7", "2026-11-14")):
        page.click(f'[data-range="{key}"]')
        with duckdb.connect(str(sample), read_only=True) as connection:
            orders, bounce = connection.execute(
                "select sum(order_n)::bigint, sum(bounce_n) / sum(page_session_n) from marts.traffic_totals"
                " where source = '(all)' and period = 'day' and not is_bot"
                " and period_start between $since and '2026-11-20'",
                {"since": since},
            ).fetchall()[0]
        assert page.locator('[data-metric="orders"] .figure').text_content() == f"{orders:,}"
        assert page.locator('[data-metric="bounce"] .figure').text_content() == f"{bounce * 100:.1f} %"


def test_funnel_and_retention_tables_are_the_data(open_page: Callable[..., Page], report: Path, sample: Path) -> None:
    page = open_page(report)
    with duckdb.connect(str(sample), read_only=True) as connection:
        reached = connection.execute(
            "select step_name, sum(reached_n)::bigint from marts.funnel_steps where funnel = 'signup'"
            " and is_complete and period_start between '2026-10-17' and '2026-11-13'"
            " group by all order by 2 desc"
        ).fetchall()
        mean = connection.execute(
            "select sum(retained_n) / sum(cohort_n) from marts.retention_cells where is_complete and period_no = 2"
        ).fetchall()[0][0]
    steps = cells(page, "signup: steps")
    assert [(row[0][3:], row[1]) for row in steps] == [(name, f"{n:,}") for name, n in reached]
    matrix = cells(page, "Retention buyers")
    assert matrix[0][4] == f"{mean * 100:.1f} %"
    late = page.locator("tr:not(.mean) td.late").first.get_attribute("title")
    assert late == "week 0 is not over yet for all who began then"
    assert page.locator("td.none").count() == 9
    assert page.locator("td.warm").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_and_the_switch(open_page: Callable[..., Page], report: Path, scheme: str) -> None:
    page = open_page(report, color_scheme=scheme)

    def card() -> int:
        shade: str = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
        return int(shade.removeprefix("rgb(").split(",")[0])

    assert (card() > 128) == (scheme == "light")
    page.click("#theme")
    assert (card() > 128) == (scheme == "dark")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert (card() > 128) == (scheme == "dark")


def test_blocked_storage_is_no_error(open_page: Callable[..., Page], report: Path) -> None:
    block = """Object.defineProperty(window, "localStorage", {
      get() { throw new DOMException("no", "SecurityError"); } });"""
    page = open_page(report, block)
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_hostile_text_does_nothing(open_page: Callable[..., Page], sample: Path, tmp_path: Path) -> None:
    bi = shutil.copy(sample, tmp_path / "bi.duckdb")
    with duckdb.connect(str(bi)) as connection:
        for place in NAMES.split():
            table, _, column = place.rpartition(".")
            connection.execute(f"update {table} set {column} = $text", {"text": HOSTILE})
        for place in NODES.split():
            table, _, column = place.rpartition(".")
            connection.execute(
                f"update {table} set {column} = {column} || $text where {column} not like '(%'",
                {"text": HOSTILE},
            )
        connection.execute("update marts.heatmap_element_cells set selector = $text || selector", {"text": HOSTILE})
        connection.execute("update marts.heatmap_elements set text = $text", {"text": HOSTILE})
        connection.execute(
            "update marts.page_outlines set boxes = (select to_json(list(json_object('selector', $text || 'a',"
            " 'x', box -> 'x', 'y', box -> 'y', 'w', box -> 'w', 'h', box -> 'h')))"
            " from unnest(boxes::json[]) as b(box))",
            {"text": HOSTILE},
        )
    write(Path(bi), tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    assert page.locator("h1").text_content() == HOSTILE
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator(".sheet").first.scroll_into_view_if_needed()
    page.locator(".sheet").first.hover(position={"x": 60, "y": 60})
    for layer in ("rage", "scroll", "attention"):
        page.click(f'#pages [data-choice="{layer}"]')
    page.select_option("#pages select", index=2)
    page.click('#pages [data-sort="3"]')
    assert HOSTILE in (page.locator("#pages h3").first.text_content() or "")
    assert "<!--" in "".join(page.locator(".wire text").all_text_contents())
    for chart in page.locator(".chart").all():
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box
        for part in (0.1, 0.35, 0.6):
            page.mouse.move(box["x"] + 20 + box["width"] * part, box["y"] + box["height"] * part)
    page.select_option('[data-filter="source"]', index=1)
    page.select_option('[data-filter="channel"]', index=2)
    page.click('[data-range="7"]')
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    assert page.locator("img, main script, iframe").count() == 0
    assert HOSTILE in (page.locator("#funnels h3").first.text_content() or "")


FILTERED = """
    select strftime(date, '%-d %b %Y') as day, sum(session_n), sum(order_n),
        (select count(distinct person_id) from core.visitor_days as v
         where v.date = t.date and not v.is_bot and v.source = 'web' and v.channel = 'Email' and v.device = 'mobile')
    from marts.traffic_daily as t
    where not is_bot and source = 'web' and channel = 'Email' and device = 'mobile'
        and date between '2026-10-05' and '2026-10-20'
    group by date order by date desc"""


def test_filters_leave_the_chosen_dates_source_channel_and_device(
    open_page: Callable[..., Page], report: Path, sample: Path
) -> None:
    page = open_page(report)
    for name, value in (("source", "web"), ("channel", "Email"), ("device", "mobile")):
        page.focus(f'[data-filter="{name}"]')
        page.keyboard.type(value[:3])
        assert page.evaluate("document.activeElement.dataset.filter") == name
    for name, value in (("since", "2026-10-05"), ("until", "2026-10-20")):
        page.fill(f'[data-date="{name}"]', value)
    with duckdb.connect(str(sample), read_only=True) as connection:
        expected = connection.execute(FILTERED).fetchall()
    shown = {row[0].partition(" ")[2]: (row[3], row[9], row[1]) for row in cells(page, "Visitors by day")}
    assert len(shown) == 16
    assert {on: tuple(map(str, row)) for on, *row in expected} == {
        on: row for on, row in shown.items() if row != ("0", "0", "0")
    }
    assert page.locator('[data-metric="sessions"] .figure').text_content() == str(sum(row[1] for row in expected))
    assert cells(page, "Channels,")[0][:2] == ["Email", str(sum(row[1] for row in expected))]
    assert page.locator("#filtered").text_content() == (
        f"5 Oct {UNKNOWN} 20 Oct 2026, source web, channel Email, device mobile"
    )
    for name in ("journeys", "pages", "retention", "attribution"):
        assert " together: " in (page.locator(f"#{name} .unfiltered").last.text_content() or "")
    asked = page.evaluate("location.hash")
    again = open_page(report)
    again.evaluate(f"location.hash = {asked!r}")
    until(again, "document.querySelector('[data-filter=channel]').value === 'Email'")
    assert cells(again, "Visitors by day") == cells(page, "Visitors by day")
    page.click("#clear")
    assert page.evaluate("location.hash") == ""
    assert page.locator('[data-range="28"]').get_attribute("aria-pressed") == "true"


def test_lifecycle_sessions_and_bots_are_the_data(open_page: Callable[..., Page], report: Path, sample: Path) -> None:
    page = open_page(report)
    with duckdb.connect(str(sample), read_only=True) as connection:

        def ask(sql: str) -> list[Any]:
            return connection.execute(sql).fetchall()

        weeks = ask(
            "select strftime(period_start, '%-d %b %Y'), any_value(person_n) filter (where state = 'new')::varchar,"
            " coalesce(any_value(person_n) filter (where state = 'dormant')::varchar, 'not over')"
            " from marts.lifecycle where period = 'week' and period_start >= '2026-10-19'"
            " group by period_start order by period_start desc"
        )
        cut = ask(
            "select start_rule, count(*)::varchar from core.sessions where not is_bot and source = 'web'"
            " and device = 'desktop' and date between '2026-10-24' and '2026-11-20'"
            " group by 1 order by count(*) desc, 1"
        )
        programs = ask(
            "select bot_rule, sum(session_n)::varchar, sum(page_view_n)::varchar from marts.bots_daily"
            " where date between '2026-10-24' and '2026-11-20' group by 1 order by sum(page_view_n) desc"
        )
    shown = cells(page, "People by week")
    assert [(row[0], row[1], row[4]) for row in shown] == [(f"Week of {on}", new, gone) for on, new, gone in weeks]
    assert [(row[0], row[2], row[3]) for row in cells(page, "Programs by the rule")] == programs
    moved = cells(page, "Events, sessions and visitors that changed sides")
    assert moved[0][1:] == ["sessions", "people", "Scripts: network: 10.0.0.0/8", "12"]
    page.select_option('[data-filter="source"]', "web")
    page.select_option('[data-filter="device"]', "desktop")
    assert [(row[0], row[2]) for row in cells(page, "Sessions by the rule")] == cut
    assert "No session here began by cap, client_id, user_change, manual" in (
        page.locator("#sessions .card .note").first.text_content() or ""
    )
    assert "programs are counted by source and date" in (page.locator("#bots .unfiltered").text_content() or "")


REACHED = """
    select count(*) filter (where depth >= 1), count(*) filter (where depth >= 2), count(*) filter (where depth >= 3),
        count(*) filter (where depth >= 4)
    from marts.funnel_attempts
    where funnel = 'checkout' and period_start between '2026-10-05' and '2026-10-20' and device = 'mobile'"""
NEXT = """
    select next_node, count(*)::varchar, printf('%.1f %%', 100 * count(*) / sum(count(*)) over ())
    from marts.funnel_attempts
    where funnel = 'checkout' and period_start between '2026-10-05' and '2026-10-20' and device = 'mobile' and depth = 1
    group by 1 order by count(*) desc"""


def test_a_funnel_follows_the_filters_and_says_what_those_who_dropped_did(
    open_page: Callable[..., Page], report: Path, sample: Path
) -> None:
    page = open_page(report)
    page.evaluate("location.hash = '#range=2026-10-05..2026-10-20&device=mobile'")
    until(page, "document.querySelector('[data-filter=device]').value === 'mobile'")
    with duckdb.connect(str(sample), read_only=True) as connection:
        reached = connection.execute(REACHED).fetchall()[0]
        after = connection.execute(NEXT).fetchall()
        done = connection.execute(f"select count(*) from ({NEXT})").fetchall()
    assert done[0][0] == len(after) == 3
    assert [row[1] for row in cells(page, "checkout: steps")] == [f"{n:,}" for n in reached]
    low, high = wilson(reached[3], reached[0]) or (0, 0)
    assert cells(page, "checkout: steps")[3][4:6] == [f"{low * 100:.1f} %", f"{high * 100:.1f} %"]
    assert "Medians are kept for whole ranges" in (page.locator("#funnels .note").first.text_content() or "")
    page.select_option('#funnels [aria-label="After which step"] >> nth=0', index=0)
    shown = cells(page, "checkout: next after Product Viewed")
    assert [(row[0].removesuffix(": the visit ended"), *row[1:]) for row in shown] == after
    by = cells(page, "checkout by channel")
    assert sum(int(row[1]) for row in by) == reached[0]
    took = cells(page, "checkout: time from the first step")
    assert sum(int(row[1]) for row in took) == reached[3]
    assert took[-1][3] == "100.0 %"
    page.click('#funnels [data-choice="device"]')
    assert [row[:2] for row in cells(page, "checkout by device")] == [["mobile", f"{reached[0]:,}"]]
    page.evaluate("location.hash = '#range=2026-11-19..2026-11-20'")
    until(page, "document.querySelector('[data-date=since]').value === '2026-11-19'")
    assert "the time to convert must be over" in (page.locator("#funnels .empty").first.text_content() or "")


def test_ways_begin_and_end_where_the_reader_says(open_page: Callable[..., Page], report: Path, sample: Path) -> None:
    page = open_page(report)
    page.select_option('[data-filter="source"]', "web")
    page.select_option('#journeys [aria-label="Start"]', "/sale")
    page.select_option('#journeys [aria-label="End"]', "/checkout")
    assert page.evaluate("document.activeElement.ariaLabel") == "End"
    with duckdb.connect(str(sample), read_only=True) as connection:
        visits = connection.execute(
            "select list(e.path order by e.event_at, e.event_id), any_value(s.is_converted) from core.sessions as s"
            " join core.events as e using (session_id) where not s.is_bot and s.source = 'web'"
            " and s.date between '2026-10-24' and '2026-11-20' group by session_id"
        ).fetchall()
    ways: dict[str, list[int]] = {}
    for walked, is_converted in visits:
        way = [name for at, name in enumerate(walked) if not at or walked[at - 1] != name]
        if "/sale" in way and "/checkout" in way[way.index("/sale") + 1 :]:
            start = way.index("/sale")
            part = way[start : way.index("/checkout", start + 1) + 1][:5]
            counts = ways.setdefault("".join(part), [0, 0])
            counts[0] += 1
            counts[1] += is_converted
    assert len(ways) == 1
    shown = cells(page, "Paths most taken")
    assert {row[0]: [int(row[1]), int(row[3])] for row in shown} == ways
    flow = cells(page, "From where to where: flow")
    assert flow[0][:2] == ["1", "/sale"]
    assert sum(int(row[3]) for row in flow if row[0] == "1") == sum(n for n, _ in ways.values())
    page.select_option('#journeys [aria-label="Steps"]', "3")
    assert {row[2] for row in cells(page, "From where to where: flow") if row[0] == "3"} == {"(more)"}


def test_value_kept_is_value_over_that_of_the_first_period(
    open_page: Callable[..., Page], report: Path, sample: Path
) -> None:
    page = open_page(report)
    with duckdb.connect(str(sample), read_only=True) as connection:
        kept, head = connection.execute(
            "select sum(b.value) / sum(a.value), sum(b.value) / sum(b.cohort_n) from marts.retention_cells as a"
            " join marts.retention_cells as b using (cohort_start) where b.is_complete and a.period_no = 0"
            " and b.period_no = 2"
        ).fetchall()[0]
    page.click('#retention [data-choice="value"]')
    assert cells(page, "Retention buyers")[0][4] == f"{kept * 100:.1f} %"
    page.click('#retention [data-choice="member"]')
    assert float(cells(page, "Retention buyers")[0][4]) == pytest.approx(head, abs=0.06)


def test_an_address_is_followed_and_what_it_cannot_mean_is_said(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    page.evaluate("location.hash = '#at=funnels&range=2026-13-01..2026-10-20&channel=<b>x&source=web&grain=week'")
    until(page, "document.querySelector('[data-filter=source]').value === 'web'")
    assert page.locator("#ignored").text_content() == (
        "Left aside, as this report does not have it: range 2026-13-01..2026-10-20, channel <b>x."
    )
    assert abs(page.evaluate("document.querySelector('#funnels').getBoundingClientRect().top")) < 200
    assert page.evaluate("location.hash") == "#at=funnels&source=web&grain=week"
    page.evaluate("location.hash = '#retention'")
    until(page, "location.hash.startsWith('#at=retention')")
    assert page.locator('[data-filter="source"]').input_value() == "web"


HEAT = """() => {
  const canvas = document.querySelector(".frame canvas");
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const found = { dark: 255, light: 0, painted: 0, at: null };
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] < 200) continue;
    const light = 0.3 * pixels[at] + 0.6 * pixels[at + 1] + 0.1 * pixels[at + 2];
    found.painted += 1;
    if (light < found.dark) {
      found.dark = light;
      found.at = [((at / 4) % canvas.width) / canvas.width, Math.floor(at / 4 / canvas.width) / canvas.height];
    }
    found.light = Math.max(found.light, light);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def one_spot(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page clicked in two places: forty times at (40 %, 800 px), four times at (20 %, 160 px)."""
    folder = tmp_path_factory.mktemp("spot")
    bi = shutil.copy(sample, folder / "bi.duckdb")
    with duckdb.connect(str(bi)) as connection:
        connection.execute("delete from marts.heatmap_cells")
        connection.execute(
            "insert into marts.heatmap_cells"
            " (source, path, date, viewport_band, layer, kind, x_bin, y_bin, event_n, raw_n) values"
            " ('web', '/', '2026-11-18', 'desktop', 'page', 'click', 40, 50, 40, 40),"
            " ('web', '/', '2026-11-18', 'desktop', 'page', 'click', 20, 10, 4, 4)"
        )
        connection.execute("delete from marts.scroll_reach where path <> '/'")
    write(Path(bi), folder / "report.html", now=NOW)
    return folder / "report.html"


def test_the_hottest_place_is_where_the_clicks_are(open_page: Callable[..., Page], one_spot: Path) -> None:
    page = open_page(one_spot, color_scheme="light")
    page.click('#pages [data-choice="desktop"]')
    heat = page.evaluate(HEAT)
    height = page.evaluate("document.querySelector('.wire').viewBox.baseVal.height")
    assert heat["at"][0] == pytest.approx(0.405, abs=0.01)
    assert heat["at"][1] * height == pytest.approx(808, abs=12)
    assert "44 clicks from desktop windows" in (page.locator(".place-picture .note").text_content() or "")
    place = f"40{UNKNOWN}41 % across, 800{UNKNOWN}816 px down"
    assert cells(page, "Clicks on /")[0][:3] == [place, "page", "a.card"]
    assert [row[3:] for row in cells(page, "Clicks on /")] == [["40", "90.9 %"], ["4", "9.1 %"]]
    page.click("#theme")
    dark = page.evaluate(HEAT)
    # more is darker on white and lighter on black
    assert heat["dark"] < 60
    assert dark["light"] > 200
    page.click('#pages [data-choice="tablet"]')
    assert "No click from tablet windows" in (page.locator(".place-picture .note").text_content() or "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_heat_scale_reads_without_hue(open_page: Callable[..., Page], report: Path, scheme: str) -> None:
    page = open_page(report, color_scheme=scheme)
    stops: list[str] = page.evaluate(
        "[1, 2, 3, 4, 5].map((n) => getComputedStyle(document.documentElement).getPropertyValue(`--heat-${n}`).trim())"
    )
    light = [
        0.2126 * int(hue[1:3], 16) ** 2.2 + 0.7152 * int(hue[3:5], 16) ** 2.2 + 0.0722 * int(hue[5:7], 16) ** 2.2
        for hue in stops
    ]
    assert light == sorted(light, reverse=scheme == "light")
    assert all(max(a, b) / min(a, b) > 1.4 for a, b in pairwise(light))


def test_places_are_told_where_the_pointer_is(open_page: Callable[..., Page], one_spot: Path) -> None:
    page = open_page(one_spot)
    page.click('#pages [data-choice="desktop"]')
    sheet = page.locator(".frame .sheet")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box
    sheet.hover(position={"x": box["width"] * 0.405, "y": box["width"] / 1280 * 808})
    readout = page.locator(".readout").text_content() or ""
    assert re.match(r"4[01] % across, 80\d px down", readout)
    assert "about 40 on this spot, on a.card" in readout


def test_reach_and_attention_are_the_data(open_page: Callable[..., Page], one_spot: Path, sample: Path) -> None:
    page = open_page(one_spot)
    page.click('#pages [data-choice="mobile"]')
    with duckdb.connect(str(sample), read_only=True) as connection:
        expected = connection.execute(
            "select sum(reached_n)::bigint, sum(reached_n) / sum(view_n) from marts.scroll_reach where path = '/'"
            " and viewport_band = 'mobile' and date between '2026-10-24' and '2026-11-20'"
            " group by depth_band order by depth_band"
        ).fetchall()
    assert [row[:3] for row in cells(page, "Scroll reach and attention of /")] == [
        [f"{at * 5}{UNKNOWN}{at * 5 + 5} %", f"{n:,}", f"{part * 100:.1f} %"] for at, (n, part) in enumerate(expected)
    ]
    half = max(at for at, (_, part) in enumerate(expected) if part >= 0.5) * 5
    assert f"Half of them get past {half} %" in (page.locator(".place-facts .note b").first.text_content() or "")
    for layer, name in (("scroll", "Scroll on"), ("attention", "Attention on")):
        page.click(f'#pages [data-choice="{layer}"]')
        assert len(cells(page, name)) == 20
        assert page.locator(".frame .mark.depth").count() == 10
        assert page.locator(".frame .mark.fold").count() == 1


def test_not_tracked_is_said_and_zero_is_shown(
    open_page: Callable[..., Page], sample_of: Callable[..., Path], tmp_path: Path
) -> None:
    bi = sample_of(days=20)
    with duckdb.connect(str(bi)) as connection:
        connection.execute("delete from marts.heatmap_cells where kind in ('rage', 'dead')")
        connection.execute("update marts.friction_pages set rage_n = null, dead_n = 0")
        connection.execute("update marts.heatmap_elements set rage_n = null, dead_n = 0")
        connection.execute("update marts.scroll_reach set attention_ms = null, visible_ms = null")
        connection.execute("update marts.friction_pages set dead_n = 2 where path = '/cart' and date = '2026-11-20'")
    write(bi, tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    words = page.locator(".place-picture .note")
    page.click('#pages [data-choice="rage"]')
    assert "Rage clicks are not tracked" in (words.text_content() or "")
    page.click('#pages [data-choice="dead"]')
    assert "No dead click from" in (words.text_content() or "")
    page.click('#pages [data-choice="attention"]')
    assert "not known, which is not 0" in (words.text_content() or "")
    page.select_option("#pages select", label="/cart")
    page.click('#pages [data-choice="dead"]')
    assert "2 dead clicks on this page in all windows; none came with a place" in (words.text_content() or "")
    assert {tuple(row[3:5]) for row in cells(page, "Elements of")} == {("not tracked", "0")}
    shown = {row[0]: row[2:4] for row in cells(page, "Friction by page")}
    assert shown["/web"] == ["not tracked", "0.00"]


def test_what_stays_in_the_window_is_drawn_there(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    page.select_option("#pages select", label="/product/:id")
    page.click('#pages [data-choice="mobile"]')
    assert page.locator(".frame .wire .still").count() == page.locator(".pinned .wire .still").count() == 6
    assert "Dashed boxes are the parts that stay" in (page.locator(".pinned .note").text_content() or "")
    on = {row[2] for row in cells(page, "Clicks on /product/:id") if row[1] == "fixed"}
    assert on <= {"header", "a.logo", "a.link-0", "a.link-1", "a.link-2", "button#basket", UNKNOWN} != {UNKNOWN}


def test_an_element_is_mapped_in_tenths(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    maps = page.locator("#pages canvas.inside")
    assert maps.count() == 12
    open_tables(page)
    place, n = page.evaluate(
        """() => {
          const all = [...document.querySelectorAll("table")];
          const row = all.find((one) => one.caption.textContent.startsWith("Where in")).tBodies[0].rows[0];
          return [row.cells[1].textContent, row.cells[2].textContent];
        }"""
    )
    assert (maps.first.get_attribute("aria-label") or "").endswith(f"placed clicks at {place}, {n}")
    painted = maps.first.evaluate(
        "(one) => one.getContext('2d').getImageData(0, 0, 10, 10).data.filter((_, at) => at % 4 === 3 && _).length"
    )
    assert painted > 20


def test_friction_is_sorted_by_keys_and_the_unknown_stays_last(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    for turn, order in (("descending", True), ("ascending", False)):
        page.focus('[data-sort="1"]')
        page.keyboard.press("Enter")
        shown = [row[2] for row in cells(page, "Friction by page")]
        rates = [float(re.match(r"[\d.]+?\.\d", text)[0]) for text in shown if text != "not tracked"]  # type: ignore[index]
        assert rates == sorted(rates, reverse=order)
        assert len(rates) > 3
        assert shown[-1] == "not tracked"
        assert page.locator("th[aria-sort]").get_attribute("aria-sort") == turn
        assert page.evaluate("document.activeElement.dataset.sort") == "1"


def test_the_pages_follow_the_source(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    page.select_option('[data-filter="source"]', "app")
    assert "No page of this source" in (page.locator("#pages .empty").first.text_content() or "")
    assert [row[0] for row in cells(page, "Friction by page")] == ["/start"]


def test_a_chosen_source_is_said_where_it_does_not_count(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    before = page.locator('[data-metric="sessions"] .figure').text_content()
    page.select_option('[data-filter="source"]', "web")
    assert page.locator('[data-metric="sessions"] .figure').text_content() != before
    for section in ("journeys", "retention"):
        assert (page.locator(f"#{section} .unfiltered").text_content() or "").startswith("All sources together: ")


def test_the_place_on_the_page_stays(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    # as in a browser that does not hold the place by itself, and with something above that goes
    page.evaluate("document.documentElement.style.overflowAnchor = 'none'")
    page.locator("#overview").evaluate(
        "(section) => section.append(Object.assign(document.createElement('pre'), { textContent: '\\n'.repeat(40) }))"
    )
    page.locator("#journeys").evaluate("(section) => section.scrollIntoView({ behavior: 'instant' })")
    top = "document.querySelector('#journeys').getBoundingClientRect().top"
    before, height = page.evaluate(top), page.evaluate("document.documentElement.scrollHeight")
    # page.click would scroll by itself
    box = page.locator('[data-range="all"]').bounding_box()
    assert box
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    assert page.evaluate("document.documentElement.scrollHeight") != height
    assert abs(page.evaluate(top) - before) < 5


def test_long_ranges_are_drawn_by_week_and_say_so(
    open_page: Callable[..., Page], sample_of: Callable[..., Path], tmp_path: Path
) -> None:
    bi = sample_of(days=140)
    write(bi, tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    assert page.locator("#overview h3").text_content() == "Visitors by day"
    page.click('[data-range="all"]')
    with duckdb.connect(str(bi), read_only=True) as connection:
        entered = connection.execute(
            "select sum(reached_n) filter (where step_no = 1), sum(reached_n) filter (where step_no = 4)"
            " from marts.funnel_steps where funnel = 'checkout' and period_start between '2026-10-31' and '2026-11-06'"
        ).fetchall()[0]
        sessions = connection.execute(
            "select sum(session_n) from marts.traffic_daily where not is_bot and channel = 'Email'"
            " and date between '2026-11-14' and '2026-11-20'"
        ).fetchall()[0][0]
        visitors = connection.execute(
            "select visitor_n from marts.traffic_totals where source = '(all)' and period = 'week' and not is_bot"
            " and period_start = '2026-11-09'"
        ).fetchall()[0][0]
    weeks = cells(page, "checkout: Share that completes it, by week of entry")
    assert weeks[0][:3] == ["31 Oct \N{EN DASH} 6 Nov 2026", *(f"{n:,}" for n in entered)]
    low, high = wilson(entered[1], entered[0]) or (0, 0)
    assert weeks[0][4:] == [f"{low * 100:.1f} %", f"{high * 100:.1f} %"]
    captions = page.evaluate("[...document.querySelectorAll('caption')].map((one) => one.textContent)")
    assert "Sessions by channel and week, newest first" in captions
    email = page.evaluate(
        """() => {
          const all = [...document.querySelectorAll("table")];
          const table = all.find((one) => one.caption.textContent.startsWith("Sessions by channel and week"));
          const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "Email");
          return [table.tBodies[0].rows[0].cells[0].textContent, table.tBodies[0].rows[0].cells[at].textContent];
        }"""
    )
    assert email == ["14 Nov 2026", f"{sessions:,}"]
    assert cells(page, "Visitors by week")[1][:2] == ["9 Nov 2026", f"{visitors:,}"]
    for section in ("overview", "channels", "funnels", "bots"):
        said = " ".join(page.locator(f"#{section} .note").all_text_contents())
        assert "a point a day over so long would be a blur" in said
    page.click('#overview .segments >> text="Day"')
    assert page.locator("#overview h3").text_content() == "Visitors by day"
    assert "grain=day" in page.evaluate("location.hash")


def test_keys_alone_are_enough(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    page.focus('[data-range="7"]')
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.range") == "7"
    assert page.locator('[data-range="7"]').get_attribute("aria-pressed") == "true"
    page.focus('[data-metric="revenue"]')
    page.keyboard.press("Space")
    assert page.locator("#overview h3").text_content() == "Revenue by day"
    page.focus("#overview summary")
    page.keyboard.press("Enter")
    assert page.locator("#overview details").get_attribute("open") is not None


def test_a_phone_scrolls_one_way(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_it_prints_light_even_from_a_dark_screen(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report, color_scheme="dark")
    assert len(page.pdf(prefer_css_page_size=True)) > 50_000
    assert page.evaluate("document.documentElement.dataset.theme") is None
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".chart svg[viewBox]").count() == 11
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") is None


def test_the_first_day_is_shown_without_rates(
    open_page: Callable[..., Page], sample_of: Callable[..., Path], tmp_path: Path
) -> None:
    write(sample_of(days=1), tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    assert page.locator('[data-metric="conversion"] .figure').text_content() == UNKNOWN
    assert page.locator('[data-metric="sessions"] .figure').text_content() != UNKNOWN
    assert "no day is complete yet" in (page.locator("#overview .note").first.text_content() or "")


def test_an_empty_file_is_a_page_of_sentences(open_page: Callable[..., Page], tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "bi.duckdb")).close()
    write(tmp_path / "bi.duckdb", tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    assert page.locator(".empty").count() >= 6
    for text in page.locator("main section .empty").all_text_contents():
        assert text.endswith(".")
