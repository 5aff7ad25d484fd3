"""One visit as it happens: every action becomes an event and is told to the tally, in one breath."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random

import msgspec

from demo.audience import DIRECT, Arrival, Place
from demo.days import iso
from demo.layout import Layout, Thing, kind, layout
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

BROWSER_LIBRARY = Library("footfall.js", "0.1.0")
ERROR = "Cannot read properties of null (reading 'focus')"
ERROR_HASH = "1c0f5f8e94a7d3b2"

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
        self._layout: Layout = layout("home", browser.screen.inner_width, browser.screen.inner_height)
        self._lowest = 0  # the lowest line that was in sight, in pixels of the page
        tally.opened(self.told)

    def page(self, path: str, product: Product | None = None, *, query: str = "", at: int | None = None) -> None:
        """Look at a page, with `product` at that product's; `at` states the moment to the millisecond."""
        if at is None and self._page_at is not None and self.rng.random() < 0.7:
            self._press_link(path)
        self._leave()
        self.at = self.at if at is None else at
        arrival, self._arrival = self._arrival, None
        if arrival:
            query, self._referrer = arrival.query or query, arrival.referrer
        url = f"{HOST}{path}?{query}" if query else HOST + path
        browser = self.device.browser
        self._layout = layout(kind(path), browser.screen.inner_width, browser.screen.inner_height)
        self._lowest = browser.screen.inner_height
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
                    browser.screen.inner_width,
                    self._layout.height,
                )
            )
        )
        self._referrer, self._path, self._page_at = url, path, self.at
        self._send("page", None)
        self.tally.saw_page(self.told, self.at, path)
        if self.tally.is_first_look(self.at, path, self._layout.band):
            self._send("track", "Page Outlined", self._layout.outline, later=900)
        if product:
            self.at += self.rng.randrange(120, 400)
            # Sent by the page, not done by the visitor: who leaves after it has bounced.
            self._send("track", "Product Viewed", product_properties(product, interactive=False))
            self.tally.took_step(self.told, self.at, 1)

    def stay(self, seconds: float | None = None) -> None:
        """Let time go by on the page."""
        waits = seconds if seconds is not None else 5 + min(95.0, self.rng.expovariate(1 / 21))
        self.at += int(waits * 1000)

    def press(self, part: str = "", *, in_vain: bool = False, in_anger: bool = False) -> None:
        """Press the thing whose selector holds `part`, else what tempts; in vain, or in anger several times."""
        if part:
            thing = self._layout.thing(part)
        else:
            things, weights = self._layout.tempting
            thing = self.rng.choices(things, cum_weights=weights)[0] if things else None
        if not thing:
            return
        self.stay(1 + 3 * self.rng.random())
        place = self._press(thing)
        if in_anger:
            for _ in range(2):
                self.at += self.rng.randrange(140, 380)
                self._press(thing, place)
            self._send("track", "Rage Clicked", {**place, "click_n": 3})
            self.tally.pressed(self.told, self.at, self._path, thing.selector, "rage_n")
        if in_vain:
            self.at += 2500
            self._send("track", "Dead Clicked", {**place, "delay_ms": 2500})
            self.tally.pressed(self.told, self.at, self._path, thing.selector, "dead_n")

    def fail(self) -> None:
        """The page meets an error of its own."""
        self.at += 40
        error = {"message": ERROR, "message_hash": ERROR_HASH, "kind": "TypeError", "file": f"{HOST}/shop.js",
                 "line": 131, "column": 17, "handled": False}  # fmt: skip
        self._send("track", "Error Raised", error)
        self.tally.failed(self.at, self._path)

    def _press_link(self, path: str) -> None:
        """Press what leads to `path`, if there is such a thing; the first ones draw most."""
        links = self._layout.links(path)
        if links:
            number = int(len(links) * self.rng.random() ** 2)
            self._press(links[number])
            self.at += self.rng.randrange(60, 250)

    def _press(self, thing: Thing, place: dict[str, object] | None = None) -> dict[str, object]:
        """One click on a thing, at the `place` of another one, else somewhere near its middle."""
        place = place or self._aim(thing)
        self._send("track", "Element Clicked", place)
        self.tally.pressed(self.told, self.at, self._path, thing.selector)
        return place

    def _aim(self, thing: Thing) -> dict[str, object]:
        rng, height = self.rng, self.device.browser.screen.inner_height
        el_x = min(0.98, max(0.02, rng.gauss(0.5, 0.17)))
        el_y = min(0.98, max(0.02, rng.gauss(0.5, 0.17)))
        x, y = int(thing.x + el_x * thing.w), int(thing.y + el_y * thing.h)
        if thing.is_fixed:
            scroll_y, client_y = max(0, int((self._lowest - height) * rng.random())), y
        else:
            scroll_y = min(max(0, y - int(height * (0.25 + 0.5 * rng.random()))), self._layout.height - height)
            client_y = y - scroll_y
            self._lowest = max(self._lowest, scroll_y + height)
        place: dict[str, object] = {
            "selector": thing.selector,
            "fingerprint": thing.fingerprint,
            "tag": thing.tag,
            "capture": "both",
            "page_x": x,
            "page_y": y,
            "client_x": x,
            "client_y": client_y,
            "scroll_x": 0,
            "scroll_y": scroll_y,
            "el_x": round(el_x, 4),
            "el_y": round(el_y, 4),
            "target_fixed": thing.is_fixed,
        }
        if thing.text:
            place["text"] = thing.text
        if thing.to:
            place["href"] = HOST + thing.to
        return place

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
        if thing := self._layout.thing("button#add"):
            self._press(thing)
            self.at += 30
        self._send("track", "Product Added", product_properties(product))
        self.tally.took_step(self.told, self.at, 2)

    def start_checkout(self, basket: dict[Product, int]) -> None:
        self.stay(6)
        if thing := self._layout.thing("button#checkout"):
            self._press(thing)
            self.at += 30
        value = sum(product.cents * n for product, n in basket.items()) / 100
        properties = {"value": value, "currency": "EUR", "products": _lines(basket)}
        self._send("track", "Checkout Started", properties)
        self.tally.took_step(self.told, self.at, 3)

    def order(self, basket: dict[Product, int], coupon: str | None = None, *, at: int | None = None) -> tuple[str, int]:
        """Buy the basket. Gives the order's id and what it brings, in cents without tax and shipping."""
        self.stay(10)
        if at is None and (thing := self._layout.thing("button#place-order")):
            self._press(thing)
            self.at += 30
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
        spent, rng = self.at - self._page_at, self.rng
        height, page_height = self.device.browser.screen.inner_height, self._layout.height
        # Few read to the end; who stays longer gets farther.
        share = min(1.0, rng.random() * (0.35 + spent / 60_000))
        lowest = max(self._lowest, height + int(share * (page_height - height)))
        pct = -(-100 * lowest // page_height)
        pct += pct % 5 == 0 and pct < 100  # clear of the bands' edges
        reversals = rng.randrange(8, 15) if rng.random() < 0.015 else rng.randrange(4)
        scrolled = {"scroll_max_pct": pct, "scroll_max_px": lowest, "page_leave": True, "scroll_reversals": reversals}
        self._send("track", "Scroll Reached", scrolled)
        self.tally.scrolled(self._page_at, self._path, self._layout.band, pct, reversals)
        if rng.random() < 0.9:
            engaged_ms = int(spent * (0.5 + 0.45 * rng.random()))
            first = engaged_ms if lowest == height else int(engaged_ms * (0.2 + 0.6 * rng.random()))
            intervals = [{"scroll_y": 0, "ms": first}]
            if first < engaged_ms:
                intervals.append(
                    {"scroll_y": int((lowest - height) * (0.4 + 0.6 * rng.random())), "ms": engaged_ms - first}
                )
            self.at += 20
            self._send("track", "Engaged", {"engaged_ms": engaged_ms, "intervals": intervals, "scroll_max_pct": pct})
            self.tally.stayed(self.told, engaged_ms)
        self.at += 500 + rng.randrange(1500)
        self._page_at = None

    def _send(
        self,
        type_: str,
        name: str | None,
        properties: Mapping[str, object] | msgspec.Raw | None = None,
        traits: dict[str, object] | None = None,
        later: int = 0,
    ) -> None:
        self.emit(
            Event(
                f"{self.rng.getrandbits(96):024x}",
                type_,
                iso(self.at + self.skew_ms + later),
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
