"""The report in a browser: it draws, its tables are the data, nothing is called, hostile text stays text."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from report.page import write

NOW = datetime(2026, 11, 21, 15, 0)
HOSTILE = '<img src=x onerror="window.owned=1"></script><script>window.owned=1</script><!--\u202e{a|b}'
UNKNOWN = "\u2013"
NAMES = """meta.build_info.site_name meta.build_info.version meta.quality.check_name meta.restatements.key
    meta.data_dictionary.description marts.funnel_steps.step_name marts.traffic_daily.device
    marts.traffic_daily.country"""
NODES = """marts.traffic_daily.channel marts.traffic_daily.source marts.traffic_totals.source
    marts.funnel_steps.funnel marts.retention_cells.retention marts.journey_edges.journey
    marts.journey_edges.to_node marts.journey_edges.from_node marts.journey_paths.path"""
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


def cells(page: Page, caption: str) -> list[list[str]]:
    """The body of the table whose caption begins so, as it is read."""
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
    for name in ("overview", "channels", "funnels", "journeys", "retention", "quality"):
        assert page.locator(f"#{name} .card").count() > 0
    assert page.locator(".chart").count() == page.locator(".chart svg").count() == 5
    assert page.locator(".tile").count() == 10
    assert page.locator(".empty").count() == 0


def test_every_chart_has_a_table_and_every_table_a_caption(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
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
    write(Path(bi), tmp_path / "report.html", now=NOW)
    page = open_page(tmp_path / "report.html")
    assert page.locator("h1").text_content() == HOSTILE
    for chart in page.locator(".chart").all():
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box
        for part in (0.1, 0.35, 0.6):
            page.mouse.move(box["x"] + 20 + box["width"] * part, box["y"] + box["height"] * part)
    page.select_option("#sources select", index=1)
    page.click('[data-range="7"]')
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    assert page.locator("img, main script, iframe").count() == 0
    assert HOSTILE in (page.locator("#funnels h3").first.text_content() or "")


def test_a_chosen_source_is_said_where_it_does_not_count(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    before = page.locator('[data-metric="sessions"] .figure').text_content()
    page.select_option("#sources select", "web")
    assert page.locator('[data-metric="sessions"] .figure').text_content() != before
    for section in ("funnels", "journeys", "retention"):
        assert page.locator(f"#{section} .heading .note").text_content() == "All sources together."


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
    assert page.locator(".chart svg[viewBox]").count() == 5
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
