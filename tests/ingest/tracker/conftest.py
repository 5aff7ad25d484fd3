"""A real collector, a site on another port, a real Chromium; and what has arrived at the other end."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ingest.from_log import FromLog
from ingest.land import land
from ingest.log import segments
from warehouse import Warehouse, open_warehouse

ROOT = Path(__file__).parents[3]
BUILT = ROOT / "ingest" / "tracker" / "built"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# Chromium without a window calls itself a bot.
UA = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
RUN = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from ingest.collector import serve, Source
log, port, built = sys.argv[1:]
sources = [Source(f"s{n}", f"pk_{n}", origins=("*",)) for n in range(60)]
serve(Path(log), sources, clock=lambda: datetime.now(UTC), port=int(port), tracker=Path(built))
"""
Row = dict[str, Any]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Collector:
    """The collector as a process of its own; it may be stopped and started again on the same port."""

    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-c", RUN, str(self.log), str(self.port), str(BUILT)]
        self.process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=1):
                return
            time.sleep(0.02)
        self.stop()
        raise AssertionError("the collector did not start")

    def stop(self) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def lines(self, source: str) -> list[Row]:
        """All that a source has on the log, repeats too, in the order of arrival."""
        chunks = (chunk for segment in segments(self.log) for chunk in segment.chunks(0))
        rows = [json.loads(line) for chunk in chunks for line in chunk.lines or ()]
        return [row for row in rows if row["source"] == source]


class Site(http.server.ThreadingHTTPServer):
    """The pages of a test: path → (HTML, headers); any other path is an empty picture of nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Pages(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        html, headers = self.server.pages.get(self.path.partition("?")[0], ("", {}))
        body = html.encode()
        self.send_response(200 if html else 404)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    running = Collector(tmp_path_factory.mktemp("tracker") / "log")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def landing() -> Iterator[Warehouse]:
    opened = open_warehouse(None)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium,
            args=ARGUMENTS,
            ignore_default_args=["--disable-back-forward-cache"],  # visitors have it
        )
        yield running
        running.close()


numbers = itertools.count()
SMOOTH = "<style>* { margin: 0; box-sizing: border-box } html { scroll-behavior: auto }</style>"


@dataclass
class Visit:
    """One visitor of a site of its own source. No error may reach the page."""

    browser: Browser
    collector: Collector
    site: Site
    warehouse: Warehouse
    number: int
    context: BrowserContext
    errors: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        return f"s{self.number}"

    def tag(self, **data: str) -> str:
        more = " ".join(f'data-{name}="{value}"' for name, value in data.items())
        return f'<script src="{self.collector.url}/footfall.js" data-key="pk_{self.number}" {more} defer></script>'

    def put(self, path: str, body: str, headers: dict[str, str] | None = None, **data: str) -> str:
        """Serves a page with the tracker in it; gives its address."""
        head = f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{path}</title>"
        html = f"{head}{SMOOTH}{self.tag(**data)}</head><body>{body}</body></html>"
        self.site.pages[f"/{self.source}{path}"] = (html, headers or {})
        return f"{self.site.url}/{self.source}{path}"

    def open(self, url: str, page: Page | None = None) -> Page:
        """The page, with the tracker and its parts loaded."""
        if page is None:
            page = self.context.new_page()
            page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url, wait_until="load")
        page.wait_for_function("window.footfall?.version")
        return page

    def leave(self, page: Page) -> None:
        page.goto("about:blank")

    def hurry(self, page: Page) -> None:
        """What waits is sent now: the tracker believes that the network is back."""
        page.evaluate("dispatchEvent(new Event('online'))")
        page.wait_for_timeout(100)

    def began(self, page: Page) -> float:
        """When the tracker began, in the milliseconds of the page's clock."""
        timing = "performance.getEntriesByType('resource').find((each) => each.name.endsWith('/footfall.js'))"
        found: float = page.evaluate(f"{timing}.responseEnd")
        return found

    def arrived(self, is_enough: Callable[[list[Row]], Any], *, timeout_s: float = 10) -> list[Row]:
        """The events on the log, without repeats, as soon as there are enough of them."""
        deadline = time.monotonic() + timeout_s
        while True:
            rows = list({row["event_id"]: row for row in self.collector.lines(self.source)}.values())
            if is_enough(rows):
                return rows
            if time.monotonic() > deadline:
                raise AssertionError(f"not enough came: {[(row['name'], row['properties']) for row in rows]}")
            time.sleep(0.1)

    def named(self, name: str, n: int = 1) -> list[Row]:
        """The events of a name, as soon as there are n."""

        def of(rows: list[Row]) -> list[Row]:
            return [row for row in rows if row["name"] == name]

        return of(self.arrived(lambda rows: len(of(rows)) >= n))

    def landed(self) -> list[Row]:
        """The rows of raw.events, as the models find them."""
        land(self.warehouse, FromLog(self.collector.log), clock=lambda: datetime.now(UTC))
        columns = "event_id, type, name, anonymous_id, user_id, id_kind, session_hint, page_view_id, seq, url, title"
        found = self.warehouse.execute(
            f"select {columns}, properties, context from raw.events where source = $source order by occurred_at, seq",
            {"source": self.source},
        )
        names = [*columns.split(", "), "properties", "context"]
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return [{**row, **{name: json.loads(row[name] or "{}") for name in ("properties", "context")}} for row in rows]


@pytest.fixture
def make_visit(
    browser: Browser, collector: Collector, site: Site, landing: Warehouse
) -> Iterator[Callable[..., Visit]]:
    made: list[Visit] = []

    def make(**how: Any) -> Visit:
        options = {"user_agent": UA, "viewport": {"width": 1000, "height": 600}, **how}
        visit = Visit(browser, collector, site, landing, next(numbers), browser.new_context(**options))
        made.append(visit)
        return visit

    yield make
    for visit in made:
        visit.context.close()
        assert visit.errors == []


@pytest.fixture
def visit(make_visit: Callable[..., Visit]) -> Visit:
    return make_visit()
