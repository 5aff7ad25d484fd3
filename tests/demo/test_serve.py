"""The served shop promises: its pages work under a strict policy, and a visit to it is seen and counted."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.request import urlopen

import duckdb
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import footfall
from demo.serve import PAGES, Shop, serving
from demo.shop import CATEGORIES, GUIDES, HELP, PRODUCTS

# Headless browsers are programs, and in no mart; an agent of a context would not go out with what leaves last.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
PATHS = (
    "/", "/search", "/cart", "/checkout", "/checkout/thanks", "/account/login", *GUIDES, *HELP,
    *(f"/category/{name}" for name in CATEGORIES), *(product.path for product in PRODUCTS),
)  # fmt: skip
WATCH = """
window.broken = [];
addEventListener("securitypolicyviolation", (event) => window.broken.push(event.violatedDirective + event.blockedURI));
addEventListener("error", (event) => window.broken.push(event.message));
"""


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, _: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found |= {value for key, value in attributes if key in ("href", "src", "action") and value}


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with serving(0, collector="http://127.0.0.1:9", write_key="pk") as url:
        yield url


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", f"--user-agent={AGENT}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(WATCH)
    yield context.new_page()
    context.close()


def test_every_page_is_there_and_leads_only_to_pages_that_are(shop: str) -> None:
    known = {*PATHS, "/shop.css", "/shop.js", "/art.svg"}
    made = Shop(shop, "pk")
    for path in PATHS:
        status, text = made.page(path)
        links = Links()
        links.feed(text)
        assert status == 200
        assert "$" not in text
        assert {each.partition("#")[0] for each in links.found} - {""} <= {*known, f"{shop}/footfall.js"}, path


def test_the_policy_lets_in_the_shop_and_the_collector_only(shop: str) -> None:
    with urlopen(shop, timeout=5) as answer:
        policy = dict(each.split(" ", 1) for each in answer.headers["Content-Security-Policy"].split("; "))
        text = answer.read().decode()
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' http://127.0.0.1:9"
    assert policy["connect-src"] == "http://127.0.0.1:9"
    assert not any("unsafe" in each for each in policy.values())
    assert re.search(r'<script src="http://127.0.0.1:9/footfall.js" data-key="pk" defer>', text)
    assert " style=" not in text
    assert "<script>" not in text


@pytest.mark.parametrize(
    "target",
    [
        "/no-such-page",
        "/../serve.py",
        "/pages/home.html",
        "/%2e%2e/%2e%2e/footfall.py",
        "/home.html",
        "//x/..;/",
        "/\\",
    ],
)
def test_nothing_else_is_served(shop: str, target: str) -> None:
    connection = http.client.HTTPConnection(shop.removeprefix("http://"), timeout=5)
    connection.putrequest("GET", target)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"This page is not here" in answer.read()
    connection.close()


def test_hostile_words_stay_words() -> None:
    _, text = Shop("http://127.0.0.1:9", "pk").page("/search", "q=%22%3E%3Cscript%3Ewindow.owned%3D1%3C/script%3E'")
    assert "<script>window" not in text
    assert "&lt;script&gt;window.owned=1" in text


@pytest.mark.parametrize("width", [1280, 820, 393, 320])
def test_no_page_is_wider_than_its_window(page: Page, shop: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/category/lamps", "/product/arc-lamp", "/cart", "/checkout", "/guide/wood-care"):
        page.goto(shop + path)
        if path == "/product/arc-lamp":
            page.click("#add")
        assert page.evaluate("document.documentElement.scrollWidth") == width, path


def buy(page: Page, shop: str) -> None:
    """From the first page to an order: one arc lamp and two tea pots."""
    page.goto(shop)
    page.click("#menu a >> text=Lamps")
    page.click(".card >> text=Arc Lamp")
    page.wait_for_url("**/product/arc-lamp")  # and until all parts of the tracker have come
    page.click("button.zoom")
    page.wait_for_timeout(2700)  # until it is plain that nothing happened
    page.mouse.wheel(0, 1500)
    page.wait_for_timeout(300)
    page.click("#add")
    page.click("#menu a >> text=Kitchen")
    page.click(".card >> text=Tea Pot")
    page.select_option("#quantity", "2")
    page.click("#add")
    page.click("a.basket")
    page.wait_for_selector("#subtotal:not(:empty)")  # the script of the page fills it
    assert page.text_content("#subtotal") == "€298.85"
    page.click("#checkout")
    page.wait_for_url("**/checkout")
    for name, text in {"name": "Ann", "email": "ann@mail.example", "street": "Oudegracht 1",
                       "postcode": "3511", "town": "Utrecht"}.items():  # fmt: skip
        page.fill(f"#order [name={name}]", text)
    page.fill("#coupon", "WELCOME10")
    page.click("#place-order")
    page.wait_for_url("**/checkout/thanks*")


def test_one_can_buy_without_a_collector_and_nothing_breaks(page: Page, shop: str) -> None:
    buy(page, shop)
    assert re.fullmatch(r"o-[0-9a-f]{12}", page.text_content("#order-id") or "")
    assert page.text_content("#count") == "0"
    assert page.evaluate("window.broken") == []


def test_the_simulator_knows_the_pages_as_they_are() -> None:
    """Things that its visitors press are still on the pages: else measure anew with demo/measure.py."""
    measured = json.loads((PAGES / "layout.json").read_text(encoding="utf-8"))
    wanted = {"product": ["button#add"], "cart": ["button#checkout"], "checkout": ["button#place-order"]}
    made = Shop("", "")
    for name, each in measured.items():
        kind = name.split()[0]
        pressed = {thing["selector"] for thing in each["things"]}
        assert set(wanted.get(kind, [])) <= pressed
        assert {made.page(thing["to"])[0] for thing in each["things"] if thing["to"][:1] == "/"} == {200}


# --- the command ------------------------------------------------------------------------------------------


def free_ports() -> int:
    """The first of two ports in a row that nobody uses."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two ports in a row are free")


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def command(*words: str) -> list[str]:
    return [sys.executable, footfall.__file__, *words]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """`footfall demo --serve` on a fresh home."""
    home, port = tmp_path / "home", free_ports()
    words = command("demo", "--serve", "--home", str(home), "--port", str(port))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: (listens(port) and listens(port + 1)) or process.poll() is not None, seconds=120)
        yield process, home, port
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def test_a_visit_is_seen_live_and_comes_out_in_the_tables(
    served: tuple[subprocess.Popen[str], Path, int], page: Page, tmp_path: Path
) -> None:
    process, home, port = served
    out = tmp_path / "live.txt"
    with out.open("w") as file:
        live = subprocess.Popen(command("live", "--home", str(home)), stdout=file, stderr=subprocess.STDOUT)
    try:
        until(lambda: "Following" in out.read_text())
        buy(page, f"http://127.0.0.1:{port}")
        assert page.evaluate("window.broken") == []
        page.goto("about:blank")
        until(lambda: "Order Completed" in out.read_text() and "/checkout/thanks" in out.read_text())
    finally:
        live.send_signal(signal.SIGINT)
        assert live.wait(10) == 0
    said = out.read_text()
    assert re.search(r"stored +web +Product Viewed +/product/arc-lamp +\w{8}…", said)
    assert "rejected" not in said

    def orders() -> object:
        if not (home / "bi.duckdb").exists():
            return 0
        with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
            return con.execute("select count(*) from core.orders").fetchall()[0][0]

    until(orders)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not listens(port)
    assert not listens(port + 1)
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
        (order,) = con.execute("select revenue_amt, coupon from core.orders").fetchall()
        (session,) = con.execute("select entry_path, exit_path, page_view_n, is_bot from core.sessions").fetchall()
        pressed = dict(
            con.execute("select selector, sum(click_n) from marts.heatmap_elements group by selector").fetchall()
        )
        dead = con.execute(
            "select path, sum(dead_n) from marts.friction_pages where dead_n > 0 group by path"
        ).fetchall()
    assert [float(order[0]), order[1]] == [268.97, "WELCOME10"]
    assert session == ("/", "/checkout/thanks", 8, False)
    assert pressed["button#add"] == 2
    assert pressed["button#place-order"] == 1
    assert dead == [("/product/:id", 1)]


def test_no_end_leaves_anything_behind(served: tuple[subprocess.Popen[str], Path, int]) -> None:
    process, home, port = served
    key = (home / "secret.key").read_text()
    process.kill()
    process.wait(10)
    until(lambda: not listens(port) and not listens(port + 1), 20)
    # A second start goes on with what is there.
    words = command("demo", "--serve", "--home", str(home), "--port", str(port))
    again = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port + 1) and listens(port))
        assert (home / "secret.key").read_text() == key
    finally:
        again.terminate()
        assert again.wait(30) == 0
    assert not listens(port)
    assert not listens(port + 1)
    assert not (home / "collector.url").exists()


def test_what_stands_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    port = free_ports()
    words = command("demo", "--serve", "--home", str(tmp_path), "--port", str(port))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the demo did not make, so it was left alone" in done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"port {port + 1}" in done.stderr
    assert os.listdir(tmp_path) == ["thesis.txt"]  # noqa: PTH208
