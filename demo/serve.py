"""The shop's website: real pages on 127.0.0.1, the tracker in them, so that a stranger can see himself visit."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

from demo.shop import BY_CATEGORY, CATEGORIES, GUIDES, HELP, PRODUCTS, Product, title

HOST = "127.0.0.1"
PAGES = Path(__file__).parent / "pages"
ASSETS = {
    "/shop.css": "text/css; charset=utf-8",
    "/shop.js": "text/javascript; charset=utf-8",
    "/art.svg": "image/svg+xml",
}
BY_PATH = {product.path: product for product in PRODUCTS}
LOVED = sorted(PRODUCTS, key=lambda product: (product.number * 7) % len(PRODUCTS))  # as POPULARITY weighs them
TEXTS = tomllib.loads((PAGES / "texts.toml").read_text(encoding="utf-8"))
LEADS: dict[str, str] = TEXTS["leads"]


@cache
def _template(name: str) -> Template:
    return Template((PAGES / name).read_text(encoding="utf-8"))


def _price(cents: int) -> str:
    return f"€{cents / 100:,.2f}"


def _tone(product: Product) -> str:
    return f"tone-{(product.number * 7 // 3) % 6}"


def _symbol(product: Product) -> str:
    """The drawing of a product: its own, or that of its category."""
    return next((symbol for word, symbol in TEXTS["art"].items() if word in product.slug), product.category)


def _art(symbol: str, tone: str) -> str:
    return f'<svg class="art {tone}" aria-hidden="true"><use href="/art.svg#{symbol}"></use></svg>'


def _cards(products: Iterable[Product]) -> str:
    return "\n".join(
        f'<a class="card" href="{product.path}" data-cents="{product.cents}">{_art(_symbol(product), _tone(product))}'
        f"<b>{product.name}</b><span>{_price(product.cents)}</span></a>"
        for product in products
    )


def _line(product: Product) -> str:
    """What the basket needs to know of a product."""
    return json.dumps(
        {
            "id": f"p{product.number}",
            "name": product.name,
            "category": product.category,
            "cents": product.cents,
            "path": product.path,
            "art": _symbol(product),
            "tone": _tone(product),
        }
    )


class Shop:
    """Makes the pages. `collector` is the address whose /footfall.js they load, under `write_key`."""

    def __init__(self, collector: str, write_key: str) -> None:
        self.collector = collector
        self.write_key = write_key
        self.policy = "; ".join(
            (
                "default-src 'none'",
                f"script-src 'self' {collector}",
                f"connect-src {collector}",
                "style-src 'self'",
                "img-src 'self'",
                "form-action 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        )

    def page(self, path: str, query: str = "") -> tuple[int, str]:
        """Status and HTML of a path; of the query only `q` counts, the words that are searched for."""
        words = parse_qs(query).get("q", [""])[0].strip()[:100]
        here = path.rstrip("/") or "/"
        last = here.rpartition("/")[2]
        if here == "/":
            tiles = "\n".join(
                f'<a href="/category/{name}">{_art(name, f"tone-{at}")}{name.title()}</a>'
                for at, name in enumerate(CATEGORIES)
            )
            return 200, self._frame(here, "home", tiles=tiles, cards=_cards(LOVED[:8]))
        if here in BY_PATH:
            return 200, self._product(BY_PATH[here])
        if here.startswith("/category/") and last in CATEGORIES:
            return 200, self._list(here, last.title(), LEADS[last], BY_CATEGORY[last])
        if here == "/search":
            found = [each for each in PRODUCTS if words.lower() in f"{each.name} {each.category}".lower()]
            lead = f"{len(found)} of {len(PRODUCTS)} things fit." if words else "What are you looking for?"
            return 200, self._list(here, f"Search: {words}" if words else "Search", lead, found, words)
        if here in (*GUIDES, *HELP):
            article = TEXTS["article"][last]
            category = article["category"]
            paragraphs = "\n".join(f"<p>{escape(each)}</p>" for each in article["paragraphs"])
            heading = last.replace("-", " ").capitalize()
            more = {"category": category, "category_name": f"See our {category}"}
            return 200, self._frame(here, "article", heading=heading, paragraphs=paragraphs, **more)
        if here in ("/cart", "/checkout", "/checkout/thanks", "/account/login"):
            return 200, self._frame(here, {"login": "login", "thanks": "thanks"}.get(last, last))
        return 404, self._frame(here, "missing")

    def _product(self, product: Product) -> str:
        related = [each for each in (*BY_CATEGORY[product.category], *PRODUCTS) if each is not product]
        material, size, weight = TEXTS["materials"][product.category]
        facts = {"Material": material, "Size": size, "Weight": weight, "Number": f"FH-{1000 + product.number}"}
        start = product.number % len(TEXTS["review"])
        reviews = TEXTS["review"][start:] + TEXTS["review"][:start]
        says = {key: text.format(name=product.name.lower()) for key, text in TEXTS["product"].items()}
        return self._frame(
            product.path,
            "product",
            f"data-product='{escape(_line(product))}'",
            name=product.name,
            category=product.category,
            category_name=product.category.title(),
            art=_symbol(product),
            tone=_tone(product),
            price=_price(product.cents),
            review_n=str(8 + product.number * 13 % 40),
            blurb=f"{LEADS[product.category]} {says['blurb']}",
            first=says["first"],
            second=f"{material}. {says['second']}",
            facts="".join(f"<tr><th>{key}</th><td>{text}</td></tr>" for key, text in facts.items()),
            reviews="".join(
                f"<blockquote><p>{each['text']}</p><footer>{each['who']}</footer></blockquote>" for each in reviews
            ),
            cards=_cards(related[:4]),
        )

    def _list(self, path: str, heading: str, lead: str, products: Iterable[Product], words: str = "") -> str:
        products = list(products)
        return self._frame(
            path,
            "list",
            f'data-query="{escape(words)}"' if words else "",
            words=words,
            heading=escape(heading),
            lead=escape(lead),
            cards=_cards(products),
            none_hidden="hidden" if products or not words else "",
        )

    def _frame(self, path: str, kind: str, data: str = "", words: str = "", **values: str) -> str:
        menu = "\n".join(
            f'<a href="{to}"{" aria-current=page" if path == to else ""}>{name.title()}</a>'
            for name in CATEGORIES
            for to in (f"/category/{name}",)
        )
        guides = "\n".join(f'<a href="{each}">{title(each).partition(" |")[0]}</a>' for each in GUIDES)
        return _template("frame.html").substitute(
            title=escape(title(path)),
            collector=escape(self.collector),
            write_key=escape(self.write_key),
            menu=menu,
            guides=guides,
            words=escape(words),
            kind=f"page-{kind}",
            data=data,
            body=_template(f"{kind}.html").substitute(values),
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a browser opens several connections at once

    def handle_error(self, request: object, client_address: object) -> None:
        # A browser that goes away in the middle of an answer is nothing to tell.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(port: int, *, collector: str, write_key: str) -> Iterator[str]:
    """The shop on 127.0.0.1 in a thread of its own, until the block ends; gives its address.

    `port` 0 takes a free one. Raises OSError where the port is taken.
    """
    shop = Shop(collector, write_key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "footfall-demo"
        sys_version = ""
        timeout = 30
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            path = unquote(address.path)
            if kind := ASSETS.get(path):
                self._answer(200, kind, (PAGES / path[1:]).read_bytes())
            else:
                status, text = shop.page(path, address.query)
                self._answer(status, "text/html; charset=utf-8", text.encode())

        do_HEAD = do_GET

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", shop.policy)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass  # what visitors do is told by `footfall live`

    server = _Server((HOST, port), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
