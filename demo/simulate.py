"""The simulator: people and programs play their days; the past goes to files, the last day is kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import BinaryIO

import msgspec

from demo.audience import ARRIVALS, BROWSERS, CRAWLERS
from demo.behaviour import Customer, Refund, play, some_product
from demo.days import HOUR, MINUTE, Days, iso, span
from demo.deliberate import Cases
from demo.shop import HOST, title
from demo.tally import WINDOW, Person, Tally
from demo.visit import BROWSER_LIBRARY, Visit, product_properties
from demo.visitors import VISIT_LIMIT, Outing, Plan, new_device, plans
from demo.wire import Call, Context, Event, Library, Location, Page

SERVER_LIBRARY = Library("analytics-python", "2.3.4")
AMERICA = Location("US")
TIMEZONE = "Europe/Amsterdam"
# Where the past is cut into rounds, in days.
ROUNDS = (42, 72, 90)
LATE_PCT = 0.03
DOUBLED_PCT = 0.015
# Who is brought back by another campaign within minutes of leaving: a session of its own.
AGAIN_PCT = 0.05
TAGGED = tuple(arrival for arrival in ARRIVALS if arrival.campaign)
CHUNK = 1 << 20
# What a day's advertisements cost for a hundred visitors to come in 91 days, in cents.
SPEND = (("Paid Search", 70), ("Paid Social", 55), ("Display", 12), ("Affiliates", 9))

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Simulation:
    """The tally, the files of the past in the order of their arrival, the requests of the last day."""

    tally: Tally
    rounds: tuple[Path, ...]
    visits: Sequence[Sequence[Call]]  # one sequence a visit: its requests go one after the other

    @property
    def live_event_n(self) -> int:
        return sum(len(call.events) * call.copies for calls in self.visits for call in calls)


class _Rounds:
    """The files of the past. A few events arrive in a later round than their own, a few arrive twice."""

    def __init__(self, rng: Random, tally: Tally, folder: Path) -> None:
        self.rng = rng
        self.tally = tally
        self.paths = tuple(folder / f"round-{number}.jsonl" for number in range(1, len(ROUNDS) + 1))
        self.files: list[BinaryIO] = [path.open("wb") for path in self.paths]
        self.buffers = [bytearray() for _ in ROUNDS]

    def writer(self, own: int) -> Callable[[Event], None]:
        """What takes the events whose own round is number `own`."""
        rng, tally, append, last = self.rng, self.tally, self._append, len(ROUNDS) - 1

        def write(event: Event) -> None:
            tally.event_n += 1
            line = _encode(event)
            chance, number = rng.random(), own
            if chance < LATE_PCT and own < last:
                number = rng.randint(own + 1, last)
                tally.late_n += 1
            append(number, line)
            if chance > 1 - DOUBLED_PCT:
                # The same round or any later one: the first copy is landed by then.
                append(rng.randint(number, last), line)
                tally.duplicate_n += 1

        return write

    def _append(self, number: int, line: bytes) -> None:
        buffer = self.buffers[number]
        buffer += line
        buffer += b"\n"
        if len(buffer) > CHUNK:
            self.files[number].write(buffer)
            buffer.clear()

    def close(self) -> None:
        for file, buffer in zip(self.files, self.buffers, strict=True):
            file.write(buffer)
            file.close()


class _Simulator:
    def __init__(self, rng: Random, days: Days, folder: Path, visitors: int) -> None:
        self.rng = rng
        self.scale = visitors / 100
        self.days = days
        self.tally = Tally(days)
        self.rounds = _Rounds(rng, self.tally, folder)
        self.visits: list[list[Call]] = []
        self._live: list[Event] = []
        writers = [self.rounds.writer(number) for number in range(len(ROUNDS))]
        self._emitters = [
            *(writers[bisect_right(ROUNDS, day)] for day in range(days.last)),
            self._keep,
        ]

    def emitter(self, day: int) -> Callable[[Event], None]:
        """Where the events of a visit that begins on `day` go."""
        return self._emitters[day]

    def _keep(self, event: Event) -> None:
        self.tally.event_n += 1
        self._live.append(event)

    def person(self, plan: Plan) -> None:
        """Play all outings of one person."""
        customer = Customer(Person(plan.number), plan.user_id)
        for outing in plan.outings:
            at = _away_from_window_ends(customer.person, outing.start)
            day = self.days.day(at)
            skew_ms = 0
            if day == self.days.last and self.rng.random() < 0.05:
                skew_ms = self.rng.randrange(-3 * HOUR, HOUR)
            visit = self._visit(plan, customer, outing, at, plan.user_id if outing.knows_user else None, skew_ms)
            again = visit.at + self.rng.randrange(2, 14) * MINUTE
            if self.rng.random() < AGAIN_PCT and self._has_time(customer.person, again):
                other = self.rng.choice([each for each in TAGGED if each.campaign != outing.arrival.campaign])
                purpose = self.rng.choice(("bounce", "browse", "search"))
                self._visit(plan, customer, Outing(again, outing.device, other, purpose), again, visit.user_id, skew_ms)
        for refund in customer.refunds:
            self._refund(refund)
        self.tally.told(customer.person)

    def _visit(
        self, plan: Plan, customer: Customer, outing: Outing, at: int, user_id: str | None, skew_ms: int
    ) -> Visit:
        visit = Visit(
            self.rng,
            self.tally,
            self.emitter(self.days.day(at)),
            customer.person,
            plan.place,
            outing.device,
            outing.arrival,
            at=at,
            user_id=user_id,
            skew_ms=skew_ms,
        )
        play(self.rng, visit, customer, outing)
        if visit.at - at > VISIT_LIMIT + 9 * MINUTE:
            raise AssertionError(f"a visit of {(visit.at - at) // MINUTE} minutes may meet the next one")
        if self._live:
            self._send_visit(outing, skew_ms)
        return visit

    def _has_time(self, person: Person, start: int) -> bool:
        """Whether a visit may begin then: it is over, with its pause, before midnight, and no window ends in it."""
        latest = self.days.midnights[self.days.day(start) + 1] - 2 * HOUR
        return start < latest and _away_from_window_ends(person, start) == start

    def _send_visit(self, outing: Outing, skew_ms: int) -> None:
        events, self._live = self._live, []
        style = ("batch", "batch", "short", "long")[int(outing.device.anonymous_id[-2:], 16) % 4]
        size = 10 if style == "batch" else 1
        self.visits.append([self._call(style, events[at : at + size], skew_ms) for at in range(0, len(events), size)])

    def _call(self, style: str, events: list[Event], skew_ms: int = 0) -> Call:
        """One request; now and then its answer gets lost and the client sends it again."""
        copies = 2 if self.rng.random() < 0.03 else 1
        self.tally.duplicate_n += len(events) * (copies - 1)
        return Call(style, events, skew_ms, copies)

    def _refund(self, refund: Refund) -> None:
        """The shop's own server gives money back in office hours, some days after the order."""
        day = self.days.day(refund.ordered_at) + self.rng.randrange(2, 12)
        at = self.days.midnights[day] + 10 * HOUR + self.rng.randrange(6 * HOUR)
        if day > self.days.last:
            return
        event = Event(
            f"{self.rng.getrandbits(96):024x}",
            "track",
            iso(at),
            msgspec.Raw(_encode(Context(SERVER_LIBRARY))),
            "Order Refunded",
            user_id=refund.user_id,
            properties={"order_id": refund.order_id, "revenue": refund.cents / 100, "currency": "EUR"},
        )
        self.emitter(day)(event)
        self.tally.refunded(at, refund.cents)
        if self._live:
            self.visits.append([self._call("batch", self._live)])
            self._live = []

    def crawlers(self, day: int, pages: int) -> None:
        """Programs that say so: they look at pages and products, and keep no cookies for long."""
        for agent in CRAWLERS:
            at = self.days.midnights[day] + 3 * HOUR
            for number in range(pages):
                if number % 5 == 0:
                    device = new_device(self.rng, BROWSERS[0])
                at += self.rng.randrange(2_000, 90_000)
                self._robot_page(day, at, device.anonymous_id, agent, "/" if number % 5 == 0 else None)
        if self._live:
            events, self._live = self._live, []
            self.visits.append([self._call("batch", events[at : at + 20]) for at in range(0, len(events), 20)])

    def scraper(self, day: int) -> None:
        """A program that says it is a browser, and takes thirty pages within one second."""
        device = new_device(self.rng, BROWSERS[0])
        at = self.days.midnights[day] + 15 * HOUR
        for number in range(30):
            self._robot_page(day, at + number * 30, device.anonymous_id, device.browser.user_agent, None)

    def advertise(self, day: int) -> None:
        """The shop's own server says what the day's advertisements cost; nobody did it, so it names nobody."""
        context = msgspec.Raw(_encode(Context(SERVER_LIBRARY)))
        at = self.days.midnights[day] + 23 * HOUR
        for number, (channel, cents) in enumerate(SPEND):
            cost = round(cents * self.scale * self.rng.uniform(0.8, 1.2)) / 100
            message_id = f"{self.rng.getrandbits(96):024x}"
            properties = {"channel": channel, "cost": cost, "currency": "EUR"}
            self.emitter(day)(Event(message_id, "track", iso(at + number), context, "Ad Spend", properties=properties))

    def _robot_page(self, day: int, at: int, anonymous_id: str, agent: str, path: str | None) -> None:
        product = some_product(self.rng)
        path = path or product.path
        page = Page(HOST + path, path, title(path))
        context = Context(BROWSER_LIBRARY, agent, "en-US", location=AMERICA, page=page)
        raw, emit = msgspec.Raw(_encode(context)), self.emitter(day)
        number = f"{self.rng.getrandbits(88):022x}"
        emit(Event(number + "-1", "page", iso(at), raw, None, anonymous_id))
        self.tally.bot_event_n += 1
        if path != "/":
            emit(Event(number + "-2", "track", iso(at + 5), raw, "Product Viewed", anonymous_id,
                       properties=product_properties(product)))  # fmt: skip
            self.tally.bot_event_n += 1


def _away_from_window_ends(person: Person, start: int) -> int:
    """The start, earlier where a funnel window of the person ends during the visit or near it."""
    moved = True
    while moved:
        moved = False
        for attempt in person.attempts:
            end = attempt.entered_at + WINDOW
            if start - 2 * MINUTE <= end <= start + HOUR + 2 * MINUTE:
                start, moved = end - HOUR - 3 * MINUTE, True
    return start


def simulate(
    folder: Path,
    *,
    visitors: int,
    seed: int,
    until: date,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Play the shop's 90 days before the local day `until`, and that day.

    Writes the past to `folder` as JSON lines, one file a round; `progress` is told (people played,
    events) now and then. Equal arguments give equal events, byte by byte.
    """
    days = span(until, TIMEZONE, ROUNDS[-1])
    rng = Random(f"{seed} {until.isoformat()} {visitors}")
    simulator = _Simulator(rng, days, folder, visitors)
    tally = simulator.tally
    for plan in plans(rng, days, visitors):
        simulator.person(plan)
        if progress and plan.number % 200 == 199:
            progress(plan.number + 1, tally.event_n)
    Cases(rng, tally, simulator.emitter, visitors).play()
    for day in range(days.last + 1):
        simulator.crawlers(day, 2 + visitors // 700)
    for day in (20, 21, 55):
        simulator.scraper(day)
    for day in range(days.last):
        simulator.advertise(day)
    simulator.rounds.close()
    tally.add_up()
    if progress:
        progress(visitors, tally.event_n)
    return Simulation(tally, simulator.rounds.paths, simulator.visits)
