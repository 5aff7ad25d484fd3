"""The demo's borderline cases, stated to the millisecond: what must hold on both sides of a rule's edge."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from demo.audience import ARRIVALS, BROWSERS, DESKTOPS, DIRECT, MOBILES, PLACES, Arrival
from demo.days import DAY, HOUR, MINUTE
from demo.shop import PRODUCTS
from demo.tally import Person, Tally
from demo.visit import Visit
from demo.visitors import Device, new_device
from demo.wire import Event

GAP = 30 * MINUTE
FOURTEEN_DAYS = 14 * DAY
SEARCH, PAID = ARRIVALS[1], ARRIVALS[4]


class Cases:
    """Plays the cases; each person's number lies above `first_number`."""

    def __init__(
        self, rng: Random, tally: Tally, emit: Callable[[int], Callable[[Event], None]], first_number: int
    ) -> None:
        self.rng = rng
        self.tally = tally
        self.emit = emit
        self.number = first_number

    def play(self) -> None:
        for day in (9, 23, 37):
            self.pause(day, GAP, sessions=1)
            self.pause(day + 1, GAP + 1, sessions=2)
            self.over_midnight(day + 2)
            self.order_after(day + 3, FOURTEEN_DAYS - HOUR)
            self.order_after(day + 4, FOURTEEN_DAYS)
            self.order_after(day + 5, FOURTEEN_DAYS + 1)
            self.two_devices(day + 6)

    def pause(self, day: int, pause: int, sessions: int) -> None:
        """Two pages with a pause between them: thirty minutes are one session, a millisecond more are two."""
        person, device = self._person(), new_device(self.rng, BROWSERS[0])
        start = self.tally.days.midnights[day] + 10 * HOUR
        visit = self._visit(person, device, start, SEARCH)
        visit.page("/")
        if sessions == 2:
            visit.end()
            # The page before is the shop's own: no channel but Direct.
            visit = self._visit(person, device, start + pause, DIRECT)
        visit.page("/category/lamps", at=start + pause)
        visit.end()
        self.tally.told(person)

    def over_midnight(self, day: int) -> None:
        """One session on two dates: it starts on the first, and its order lies on the second."""
        person, device = self._person(), new_device(self.rng, BROWSERS[4])
        midnight = self.tally.days.midnights[day + 1]
        visit = self._visit(person, device, midnight - 9 * MINUTE, PAID)
        product = PRODUCTS[3]
        visit.page("/")
        visit.page(product.path, product, at=midnight - 5 * MINUTE)
        visit.add(product)
        visit.page("/cart", at=midnight + 4 * MINUTE)
        visit.start_checkout({product: 1})
        visit.order({product: 1})
        visit.page("/checkout/thanks")
        visit.end()
        self.tally.told(person)

    def order_after(self, day: int, wait: int) -> None:
        """An order a given time after the day's first product view: up to fourteen days it converts."""
        person, device = self._person(), new_device(self.rng, BROWSERS[2])
        product = PRODUCTS[7]
        visit = self._visit(person, device, self.tally.days.midnights[day] + 14 * HOUR, SEARCH)
        visit.page(product.path, product)
        viewed_at = visit.at
        visit.add(product)
        visit.end()
        visit = self._visit(person, device, viewed_at + wait - 3 * MINUTE, DIRECT)
        visit.page("/cart")
        visit.start_checkout({product: 1})
        visit.order({product: 1}, at=viewed_at + wait)
        visit.end()
        self.tally.told(person)

    def two_devices(self, day: int) -> None:
        """Looks on the telephone, buys at the desk, logs in on both, twenty days apart: one person."""
        person = self._person()
        user_id = f"u-{100_000 + person.key}"
        telephone, desk = new_device(self.rng, MOBILES[0]), new_device(self.rng, DESKTOPS[1])
        product = PRODUCTS[11]
        morning = self.tally.days.midnights[day] + 9 * HOUR
        visit = self._visit(person, telephone, morning, PAID)
        visit.page(product.path, product)
        visit.end()
        visit = self._visit(person, desk, morning + 3 * HOUR, DIRECT)
        visit.page("/account/login")
        visit.log_in(user_id)
        visit.page("/cart")
        visit.add(product)
        visit.start_checkout({product: 2})
        visit.order({product: 2})
        visit.end()
        visit = self._visit(person, telephone, morning + 20 * DAY, DIRECT)
        visit.page("/account/login")
        visit.log_in(user_id)
        visit.page("/")
        visit.end()
        self.tally.told(person)

    def _person(self) -> Person:
        self.number += 1
        return Person(self.number)

    def _visit(self, person: Person, device: Device, at: int, arrival: Arrival) -> Visit:
        emit = self.emit(self.tally.days.day(at))
        return Visit(self.rng, self.tally, emit, person, PLACES[0], device, arrival, at=at)
