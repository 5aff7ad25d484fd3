"""Measure the shop's pages in a real browser: where on them things are. Writes pages/layout.json.

By hand, when a page has changed, with the test tools: python -m demo.measure PATH_OF_CHROMIUM
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page, sync_playwright

from demo.serve import PAGES, serving

# One page of each kind.
KINDS = {
    "home": "/",
    "list": "/category/chairs",
    "product": "/product/arc-lamp",
    "cart": "/cart",
    "checkout": "/checkout",
    "thanks": "/checkout/thanks",
    "article": "/guide/wood-care",
    "login": "/account/login",
}
# Of each band one: demo/layout.py moves things to where the windows of other widths have them.
VIEWPORTS = {"desktop": (1512, 861), "tablet": (820, 1096), "mobile": (393, 659)}

# Selectors and fingerprints as the tracker makes them: ingest/tracker/src/place.ts.
MEASURE = """() => {
  const among = (e) => {
    let n = 1;
    for (let s = e.previousElementSibling; s; s = s.previousElementSibling) n += s.localName === e.localName;
    return n;
  };
  const selector = (e) => {
    let path = "";
    for (; e; e = e.parentElement) {
      const n = among(e), place = n > 1 || e.nextElementSibling ? `:nth-of-type(${n})` : "";
      path = e.localName + (e.id ? "#" + e.id : place) + (path ? ">" + path : "");
      if (e.id) break;
    }
    return path;
  };
  const text = (e) => {
    const said = e.matches("a,button,label,summary") ? e.getAttribute("aria-label") || e.textContent : "";
    return said.replace(/\\s+/g, " ").trim();
  };
  const fixed = (e) => e && (/fixed|sticky/.test(getComputedStyle(e).position) || fixed(e.parentElement));
  const box = (e) => {
    const found = e.getBoundingClientRect();
    return [found.left + scrollX, found.top + scrollY, found.width, found.height].map(Math.round);
  };
  const isSeen = ([x, , w, h]) => w > 3 && h > 3 && x >= 0 && x + w <= innerWidth;
  const all = (what) => [...document.body.querySelectorAll(what)].filter((e) => isSeen(box(e)));
  const stable = (e) => ["name", "type"].map((name) => e.getAttribute(name) || "").join(" ").trim();
  const outlined = "header,nav,main,section,article,aside,footer,form,h1,h2,p,table,a,button,input,select";
  return {
    height: document.documentElement.scrollHeight,
    boxes: all(outlined).map((e) => [selector(e), ...box(e), Boolean(fixed(e))]),
    things: all("a,button,select,summary,input").map((e) => ({
      selector: selector(e),
      tag: e.localName,
      text: text(e).slice(0, 40),
      to: e.localName === "a" ? e.getAttribute("href") : "",
      fingerprint: [e.localName, text(e).slice(0, 60), stable(e), among(e)].join("|").slice(0, 200),
      box: box(e),
      fixed: Boolean(fixed(e)),
    })),
  };
}"""


def measure(page: Page, shop: str) -> Iterator[tuple[str, Any]]:
    """Kind of page, and what is on it, with two things in the basket."""
    for path in ("/product/arc-lamp", "/product/tea-pot"):
        page.goto(shop + path)
        page.click("#add")
    for kind, path in KINDS.items():
        page.goto(shop + path)
        yield kind, page.evaluate(MEASURE)


def main(chromium: str) -> None:
    with serving(0, collector="http://127.0.0.1:9", write_key="") as shop, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        lines = []
        for name, (width, height) in VIEWPORTS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            for kind, found in measure(page, shop):
                lines.append(f'"{kind} {name}": {json.dumps(found, ensure_ascii=False, separators=(",", ":"))}')
        browser.close()
    (PAGES / "layout.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
