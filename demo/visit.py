"""One visit as it happens: every action becomes an event and is told to the tally, in one breath."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import msgspec

from demo.audience import DIRECT, Arrival, Place
from demo.days import iso
from demo.shop import (
    COUPONS,
    FREE_SHIPPING_FROM,
    HOST,
    SHIPPING,
    TAX_PCT,
    Product,
    title,
)
from demo.tally import Person, Tally
from demo.tally import Visit as Told
from demo.visitors import Device
from demo.wire import Context, Event, Library, Page

BROWSER_LIBRARY = Library("analytics.js", "npm:next-1.84.0")
# Where people click: selector, place across the page (share), place down the page (pixels).
BUTTONS = (
    ("#menu", 0.05, 40),
    ("nav a.category", 0.4, 60),
    ("a.related", 0.75, 900),
    ("button.zoom", 0.3, 420),
    ("#newsletter", 0.5, 1900),
    ("a.footer-help", 0.2, 2300),
    ("button.filter", 0.1, 300),
)

_encode = msgspec.json.Encoder().encode


@cache
def product_properties(product: Product, **more: bool) -> msgspec.Raw:
    return msgspec.Raw(
        _encode(
            {
                "product_id": f"p{product.number}",
                "name": product.name,
                "category": product.category,
                "price": product.cents / 100,
                "currency": "EUR",
                **more,
            }
        )
    )


class Visit:
    """A visitor on the site with one device. `at` is the visitor's clock in milliseconds; actions move it on.

    `emit` takes each event with the moment at which it happened; `skew_ms` is how far the device's clock is
    ahead, which its timestamps show and the tally does not.
    """

    def __init__(
        self,
        rng: Random,
        tally: Tally,
        emit: Callable[[Event], None],
        person: Person,
        place: Place,
        device: Device,
        arrival: Arrival = DIRECT,
        *,
        at: int,
        user_id: str | None = None,
        skew_ms: int = 0,
    ) -> None:
        self.rng = rng
        self.tally = tally
        self.emit = emit
        self.place = place
        self.device = device
        self.at = at
        self.user_id = user_id
        self.skew_ms = skew_ms
        browser = device.browser
        self.told = Told(person, tally.days.day(at), arrival.channel, browser.device, place.country)
        self._arrival: Arrival | None = arrival
        self._referrer: str | None = None
        self._context = msgspec.Raw(b"{}")
        self._path = "/"
        self._page_at: int | None = None
        tally.opened(self.told)

    def page(self, path: str, product: Product | None = None, *, query: str = "", at: int | None = None) -> None:
        """Look at a page, with `product` at that product's; `at` states the moment to the millisecond."""
        self._leave()
        self.at = self.at if at is None else at
        arrival, self._arrival = self._arrival, None
        if arrival:
            query, self._referrer = arrival.query or query, arrival.referrer
        url = f"{HOST}{path}?{query}" if query else HOST + path
        browser = self.device.browser
        self._context = msgspec.Raw(
            _encode(
                Context(
                    BROWSER_LIBRARY,
                    browser.user_agent,
                    self.place.locale,
                    self.place.timezone,
                    self.place.location,
                    browser.screen,
                    arrival.campaign if arrival else None,
                    Page(url, path, title(path), self._referrer),
                    f"{self.rng.getrandbits(64):016x}",
                )
            )
        )
        self._referrer, self._path, self._page_at = url, path, self.at
        self._send("page", None)
        self.tally.saw_page(self.told, self.at, path)
        if product:
            self.at += self.rng.randrange(120, 400)
            # Sent by the page, not done by the visitor: who leaves after it has bounced.
            self._send("track", "Product Viewed", product_properties(product, interactive=False))
            self.tally.took_step(self.told, self.at, 1)

    def stay(self, seconds: float | None = None) -> None:
        """Let time go by on the page."""
        waits = seconds if seconds is not None else 5 + min(95.0, self.rng.expovariate(1 / 21))
        self.at += int(waits * 1000)

    def click(self) -> None:
        """Click on something of the page."""
        self.stay(1 + 3 * self.rng.random())
        rng = self.rng
        selector, across, down = rng.choice(BUTTONS)
        share = min(0.97, max(0.02, rng.gauss(across, 0.03)))
        properties: dict[str, object] = {
            "selector": selector,
            "page_x": int(share * self.device.browser.screen.inner_width),
            "page_y": int(abs(rng.gauss(down, 14))),
            "el_x": round(rng.random(), 3),
            "el_y": round(rng.random(), 3),
            "target_fixed": False,
            "capture": "both",
        }
        self._send("track", "Element Clicked", properties)
        self.tally.acted(self.told)

    def search(self, words: str) -> None:
        self.page("/search", query=f"q={words.replace(' ', '+')}")
        self.at += self.rng.randrange(200, 500)
        self._send("track", "Products Searched", {"query": words})
        self.tally.acted(self.told)

    def log_in(self, user_id: str) -> None:
        """From now on the device says who uses it."""
        self.stay(8)
        self.user_id = user_id
        traits = {"newsletter": self.rng.random() < 0.5, "country": self.place.country}
        self._send("identify", None, traits=traits)

    def add(self, product: Product) -> None:
        self.stay(6)
        self._send("track", "Product Added", product_properties(product))
        self.tally.took_step(self.told, self.at, 2)

    def start_checkout(self, basket: dict[Product, int]) -> None:
        self.stay(6)
        value = sum(product.cents * n for product, n in basket.items()) / 100
        properties = {"value": value, "currency": "EUR", "products": _lines(basket)}
        self._send("track", "Checkout Started", properties)
        self.tally.took_step(self.told, self.at, 3)

    def order(self, basket: dict[Product, int], coupon: str | None = None, *, at: int | None = None) -> tuple[str, int]:
        """Buy the basket. Gives the order's id and what it brings, in cents without tax and shipping."""
        self.stay(10)
        self.at = self.at if at is None else at
        value = sum(product.cents * n for product, n in basket.items())
        discount = value * COUPONS[coupon] // 100 if coupon else 0
        revenue = value - discount
        shipping = 0 if revenue >= FREE_SHIPPING_FROM else SHIPPING
        tax = revenue * TAX_PCT // 100
        order_id = f"o-{self.rng.getrandbits(48):012x}"
        properties: dict[str, object] = {
            "order_id": order_id,
            "revenue": revenue / 100,
            "tax": tax / 100,
            "shipping": shipping / 100,
            "total": (revenue + tax + shipping) / 100,
            "discount": discount / 100,
            "currency": "EUR",
            "products": _lines(basket),
        }
        if coupon:
            properties["coupon"] = coupon
        self._send("track", "Order Completed", properties)
        self.tally.ordered(self.told, self.at, revenue)
        return order_id, revenue

    def end(self) -> None:
        """Leave the site."""
        self._leave()
        self.tally.closed(self.told)

    def _leave(self) -> None:
        """Report what the visitor did with the page that is left: how far down, how long in sight."""
        if self._page_at is None:
            return
        self.stay(1)
        spent = self.at - self._page_at
        if self.rng.random() < 0.35:
            self._send("track", "Scroll Reached", {"scroll_max_pct": self.rng.randrange(20, 101)})
        if self.rng.random() < 0.9:
            engaged_ms = int(spent * (0.5 + 0.45 * self.rng.random()))
            self.at += 20
            self._send("track", "Engaged", {"engaged_ms": engaged_ms})
            self.tally.stayed(self.told, engaged_ms)
        self.at += 500 + self.rng.randrange(1500)
        self._page_at = None

    def _send(
        self,
        type_: str,
        name: str | None,
        properties: dict[str, object] | msgspec.Raw | None = None,
        traits: dict[str, object] | None = None,
    ) -> None:
        self.emit(
            Event(
                f"{self.rng.getrandbits(96):024x}",
                type_,
                iso(self.at + self.skew_ms),
                self._context,
                name,
                self.device.anonymous_id,
                self.user_id,
                properties,
                traits,
            )
        )


def _lines(basket: dict[Product, int]) -> list[dict[str, object]]:
    return [
        {
            "product_id": f"p{product.number}",
            "name": product.name,
            "category": product.category,
            "price": product.cents / 100,
            "quantity": n,
        }
        for product, n in basket.items()
    ]
