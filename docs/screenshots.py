"""The README's pictures, taken from a report: python docs/screenshots.py footfall-demo/report.html

Needs the development set and a Chromium (apt-get install chromium).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# the bar that stays on top would lie over a section taller than the window
STILL = ".top { position: static !important } section { padding: 14px 0 !important }"
TALLEST = 720  # pixels of a part


def take(browser: Browser, report: Path, name: str, of: str | None, **how: object) -> Path:
    """One picture: of the window, or of the first element that `of` selects."""
    context = browser.new_context(bypass_csp=True, **{"viewport": {"width": 1280, "height": 880}, **how})  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(report.resolve().as_uri())
    page.wait_for_selector("html[data-ready]")
    path = PICTURES / f"{name}.png"
    if of:
        page.add_style_tag(content=STILL)
        part = page.locator(of).first
        part.scroll_into_view_if_needed()
        box = part.bounding_box()
        if not box:
            raise SystemExit(f"{of} is not in {report}")
        x, y, width, height = box["x"], box["y"] + page.evaluate("scrollY"), box["width"], min(box["height"], TALLEST)
        page.screenshot(path=path, full_page=True, clip={"x": x, "y": y, "width": width, "height": height})
    else:
        page.screenshot(path=path)
    context.close()
    return path


def main(report: Path) -> None:
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("chromium is not here: apt-get install chromium")
    if not report.is_file():
        raise SystemExit(f"{report} is not there: make demo writes one")
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
        for path in (
            take(browser, report, "overview-light", None),
            take(browser, report, "overview-dark", None, color_scheme="dark"),
            take(browser, report, "channels", "#channels"),
            take(browser, report, "funnel", "#funnels .card"),
            take(browser, report, "journeys", "#journeys .card"),
            take(browser, report, "pages", "#pages .card"),
            take(browser, report, "retention", "#retention .card, #retention .empty"),
            take(browser, report, "phone", None, **phone),
        ):
            print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/screenshots.py REPORT.html")
    main(Path(sys.argv[1]))
