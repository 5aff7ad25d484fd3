"""The exact tally: what the shop's visitors did, written down by the simulator while they did it.

A visitor's actions are told in the order in which the person does them, over all devices. Nothing here reads
events: dates, persons, paths and orders are what the visitor decided.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import TypeAlias

from demo.days import DAY, Days
from demo.shop import node

STEPS = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")
WINDOW = 14 * DAY
MAX_STEPS = 5
INTERVALS = 8
ENGAGED_MS = 10_000
QUICK_BACK = 5000
REVERSALS = 8
BANDS = 20

# date, channel, device, country: the names they are counted under
Place: TypeAlias = tuple[int, str, str, str]


@dataclass
class Attempt:
    """One try at the funnel: a day's first product view, and how many steps were done in time."""

    day: int
    entered_at: int
    depth: int = 1


@dataclass
class Person:
    """What the tally remembers of a person while their story is told."""

    key: int
    is_new: bool = True
    attempts: list[Attempt] = field(default_factory=list)
    page_weeks: set[date] = field(default_factory=set)
    order_weeks: set[date] = field(default_factory=set)


@dataclass
class Visit:
    """One session as the visitor lives it."""

    person: Person
    day: int
    channel: str
    device: str
    country: str
    page_n: int = 0
    engaged_ms: int = 0
    action_n: int = 0
    order_n: int = 0
    views: list[tuple[int, str]] = field(default_factory=list)  # the last two pages: when, under which name
    from_home: list[str] = field(default_factory=list)  # from the first "/" on
    orders_from_home: int = 0


class Tally:
    """Sums of what was told. Cells are keyed as the published tables are."""

    def __init__(self, days: Days) -> None:
        self.days = days
        self.traffic: defaultdict[Place, Counter[str]] = defaultdict(Counter)
        self.totals: defaultdict[tuple[str, date], Counter[str]] = defaultdict(Counter)
        self.funnel: Counter[tuple[date, int]] = Counter()  # (entry date, step_no) -> persons
        self.retention: defaultdict[str, Counter[tuple[date, int]]] = defaultdict(Counter)
        self.edges: Counter[tuple[date, int, str, str]] = Counter()
        self.paths: Counter[tuple[date, str]] = Counter()
        self.path_conversions: Counter[tuple[date, str]] = Counter()
        self.elements: defaultdict[tuple[date, str, str], Counter[str]] = defaultdict(Counter)  # of page and selector
        self.friction: defaultdict[tuple[date, str], Counter[str]] = defaultdict(Counter)
        self.depths: defaultdict[tuple[date, str, str], list[int]] = defaultdict(list)  # of page and window, per cent
        self.event_n = 0
        self.bot_event_n = 0
        self.late_n = 0
        self.duplicate_n = 0
        self._looks: set[tuple[str, str, int]] = set()
        self._seen: set[tuple[Place, int]] = set()
        self._seen_in: set[tuple[str, date, int]] = set()
        self._periods = [
            (("day", days.date_of(day)), ("week", days.week(day)), ("month", days.month(day)))
            for day in range(days.last + 1)
        ]

    def add(self, place: Place, metric: str, n: int = 1) -> None:
        """Count in a day's cell; the totals follow at the end."""
        self.traffic[place][metric] += n

    def add_up(self) -> None:
        """Fill the totals of days, weeks and months, but for visitors, who are counted as they come."""
        for place, counts in self.traffic.items():
            for period in self._periods[place[0]]:
                total = self.totals[period]
                for metric, n in counts.items():
                    if metric != "visitor_n":
                        total[metric] += n

    def opened(self, visit: Visit) -> None:
        self.add((visit.day, visit.channel, visit.device, visit.country), "session_n")

    def saw_page(self, visit: Visit, at: int, path: str) -> None:
        """A page was looked at; `path` as in the address."""
        person, day = visit.person, self.days.day(at)
        place = (day, visit.channel, visit.device, visit.country)
        visit.page_n += 1
        self.add(place, "page_view_n")
        if (place, person.key) not in self._seen:
            self._seen.add((place, person.key))
            self.traffic[place]["visitor_n"] += 1
            for name, start in self._periods[day]:
                if (name, start, person.key) not in self._seen_in:
                    self._seen_in.add((name, start, person.key))
                    self.totals[name, start]["visitor_n"] += 1
        if person.is_new:
            person.is_new = False
            self.add(place, "new_visitor_n")
        person.page_weeks.add(self._periods[day][1][1])
        name, here = node(path), self.days.date_of(day)
        self.friction[here, name]["view_n"] += 1
        if len(visit.views) == 2:
            (_, before), (came, there) = visit.views
            if before == name != there and at - came < QUICK_BACK:
                self.friction[self.days.date_of(self.days.day(came)), there]["quick_back_n"] += 1
        visit.views = [*visit.views[-1:], (at, name)]
        if (path == "/" or visit.from_home) and name != (visit.from_home or [""])[-1]:
            visit.from_home.append(name)

    def stayed(self, visit: Visit, engaged_ms: int) -> None:
        visit.engaged_ms += engaged_ms

    def acted(self, visit: Visit) -> None:
        """Something was done that keeps the visit from being a bounce."""
        visit.action_n += 1

    def pressed(self, visit: Visit, at: int, path: str, selector: str, metric: str = "click_n") -> None:
        """Something on a page was pressed (`click_n`), in anger (`rage_n`, once a burst), in vain (`dead_n`)."""
        self.acted(visit)
        here = self.days.date_of(self.days.day(at))
        self.elements[here, node(path), selector][metric] += 1
        if metric != "click_n":
            self.friction[here, node(path)][metric] += 1

    def failed(self, at: int, path: str) -> None:
        """A page view met an error."""
        self.friction[self.days.date_of(self.days.day(at)), node(path)]["error_n"] += 1

    def scrolled(self, opened_at: int, path: str, band: str, pct: int, reversals: int) -> None:
        """A page that was opened at this instant was seen down to `pct` per cent of it."""
        here = self.days.date_of(self.days.day(opened_at))
        self.depths[here, node(path), band].append(pct)
        if reversals >= REVERSALS:
            self.friction[here, node(path)]["excessive_scroll_n"] += 1

    def is_first_look(self, at: int, path: str, band: str) -> bool:
        """Whether nobody has looked at this page through such a window in these thirty days."""
        look = (node(path), band, self.days.day(at) // 30)
        is_first = look not in self._looks
        self._looks.add(look)
        return is_first

    def took_step(self, visit: Visit, at: int, step: int) -> None:
        """The person took funnel step 1, 2, 3 or 4."""
        visit.action_n += step > 1
        attempts = visit.person.attempts
        for attempt in attempts:
            if attempt.depth == step - 1 and at - attempt.entered_at <= WINDOW:
                attempt.depth = step
        if step == 1:
            day = self.days.day(at)
            if not any(attempt.day == day for attempt in attempts):
                attempts.append(Attempt(day, at))

    def ordered(self, visit: Visit, at: int, cents: int) -> None:
        """The person bought for `cents`, without tax and shipping."""
        self.took_step(visit, at, 4)
        visit.order_n += 1
        day = self.days.day(at)
        place = (day, visit.channel, visit.device, visit.country)
        self.add(place, "order_n")
        self.add(place, "order_cents", cents)
        visit.person.order_weeks.add(self.days.week(day))
        if visit.from_home:
            visit.orders_from_home += 1

    def refunded(self, at: int, cents: int) -> None:
        """The shop's own server gave money back: no session, so no channel, device or country."""
        self.add((self.days.day(at), "(none)", "(none)", "(none)"), "refund_cents", cents)

    def closed(self, visit: Visit) -> None:
        place = (visit.day, visit.channel, visit.device, visit.country)
        if visit.engaged_ms >= ENGAGED_MS or visit.order_n or visit.page_n >= 2:
            self.add(place, "engaged_session_n")
        if visit.order_n:
            self.add(place, "converted_session_n")
        if visit.page_n == 1 and not visit.action_n:
            self.add(place, "bounce_n")
        if visit.from_home:
            self._walk(visit)

    def _walk(self, visit: Visit) -> None:
        date, nodes = self.days.date_of(visit.day), visit.from_home
        ways = [*nodes[:MAX_STEPS], "(more)" if len(nodes) > MAX_STEPS else "(exit)"]
        for step, (here, there) in enumerate(pairwise(ways), start=1):
            self.edges[date, step, here, there] += 1
        path = " > ".join(nodes[:MAX_STEPS])
        self.paths[date, path] += 1
        if visit.orders_from_home:
            self.path_conversions[date, path] += 1

    def told(self, person: Person) -> None:
        """The person's story is over: count how far they came and when they came back."""
        for attempt in person.attempts:
            for step in range(1, attempt.depth + 1):
                self.funnel[self.days.date_of(attempt.day), step] += 1
        for name, weeks in (("visitors", person.page_weeks), ("buyers", person.order_weeks)):
            if weeks:
                first = min(weeks)
                for week in weeks:
                    number = (week - first).days // 7
                    if number <= INTERVALS:
                        self.retention[name][first, number] += 1
