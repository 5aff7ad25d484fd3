"""Who visits the demo's shop and when: each visitor's plan, made before anything happens.

Plans keep away from what could be read in two ways: visits of a person lie hours apart and end before
midnight, and whoever has an account logs in on each device early enough that all of its visits are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random

from demo.audience import (
    ARRIVALS,
    BROWSER_WEIGHTS,
    BROWSERS,
    DESKTOPS,
    FIRST_WEIGHTS,
    LATER_WEIGHTS,
    MOBILES,
    PLACE_WEIGHTS,
    PLACES,
    Arrival,
    Browser,
    Place,
)
from demo.days import DAY, HOUR, HOURS, MINUTE, Days, busyness

VISIT_LIMIT = 50 * MINUTE
STITCH = 28 * DAY  # two days less than the thirty within which a login owns what lies around it

# casual, regular, customer: how many there are, and what a visit of theirs is for
KINDS = (0.68, 0.23, 0.09)
PURPOSES = ("bounce", "browse", "search", "cart", "buy")
WISHES = ((0.62, 0.27, 0.07, 0.03, 0.01), (0.44, 0.31, 0.12, 0.09, 0.04), (0.30, 0.32, 0.10, 0.12, 0.16))


@dataclass
class Device:
    anonymous_id: str
    browser: Browser


@dataclass
class Outing:
    """One planned visit. `logs_in`: in its middle; `knows_user`: logged in from its beginning."""

    start: int
    device: Device
    arrival: Arrival
    purpose: str
    logs_in: bool = False
    knows_user: bool = False


@dataclass
class Plan:
    """One person: `user_id` only for those with an account."""

    number: int
    place: Place
    user_id: str | None
    outings: list[Outing] = field(default_factory=list)


def new_device(rng: Random, browser: Browser) -> Device:
    text = f"{rng.getrandbits(128):032x}"
    return Device(f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}", browser)


def moment(rng: Random, days: Days, day: int) -> int:
    """A moment of the day at which a visit may begin: it ends, with its pause, before midnight."""
    hour: int = rng.choices(range(7, 7 + len(HOURS)), cum_weights=HOURS)[0]
    offset = hour * HOUR + rng.randrange(HOUR)
    midnight, next_midnight = days.midnights[day], days.midnights[day + 1]
    latest = next_midnight - midnight - (120 if day == days.last else 70) * MINUTE
    return midnight + (offset if offset < latest else latest - rng.randrange(HOUR))


def plans(rng: Random, days: Days, visitors: int) -> Iterator[Plan]:
    """The plans of `visitors` people, one after the other."""
    kinds = rng.choices((0, 1, 2), KINDS, k=visitors)
    firsts = rng.choices(range(days.last + 1), busyness(days), k=visitors)
    for number, (kind, first) in enumerate(zip(kinds, firsts, strict=True)):
        yield _plan(rng, days, number, kind, first)


def _plan(rng: Random, days: Days, number: int, kind: int, first: int) -> Plan:
    place = rng.choices(PLACES, cum_weights=PLACE_WEIGHTS)[0]
    has_account = rng.random() < (0.02, 0.15, 0.7)[kind]
    plan = Plan(number, place, f"u-{100_000 + number}" if has_account else None)
    if has_account and rng.random() < 0.45:
        devices = [new_device(rng, rng.choice(MOBILES)), new_device(rng, rng.choice(DESKTOPS))]
    else:
        devices = [new_device(rng, rng.choices(BROWSERS, cum_weights=BROWSER_WEIGHTS)[0])]
    for start in _starts(rng, days, kind, first):
        weights = LATER_WEIGHTS if plan.outings else FIRST_WEIGHTS
        plan.outings.append(
            Outing(
                start,
                devices[0] if len(devices) == 1 else rng.choice(devices),
                rng.choices(ARRIVALS, cum_weights=weights)[0],
                rng.choices(PURPOSES, WISHES[kind])[0],
            )
        )
    if has_account:
        for device in devices:
            _plan_logins(rng, [outing for outing in plan.outings if outing.device is device])
    return plan


def _starts(rng: Random, days: Days, kind: int, first: int) -> Iterator[int]:
    stays_away = (0.8, 0.3, 0.1)[kind]
    pause = (12.0, 8.0, 7.0)[kind]
    day, start = first, moment(rng, days, first)
    while True:
        yield start
        if rng.random() < stays_away:
            return
        if rng.random() < 0.08 and start - days.midnights[day] < 13 * HOUR:
            start += 5 * HOUR + rng.randrange(3 * HOUR)
            continue
        day += 1 + int(rng.expovariate(1 / pause))
        if day > days.last:
            return
        start = moment(rng, days, day)


def _plan_logins(rng: Random, outings: list[Outing]) -> None:
    """Decide one device's logins, so that each of its visits lies within STITCH of one."""
    logged_in_at: int | None = None
    unowned_since: int | None = None
    for outing, later in zip_longest(outings, outings[1:]):
        if logged_in_at is not None and outing.start - logged_in_at <= STITCH:
            # Most stay logged in; a visit after a logout belongs to the login before it, or to the next one.
            outing.knows_user = rng.random() < 0.85
            if outing.knows_user:
                logged_in_at = outing.start
            continue
        since = unowned_since if unowned_since is not None else outing.start
        must = later is None or later.start - since > STITCH
        if must or logged_in_at is not None or outing.purpose == "buy" or rng.random() < 0.35:
            outing.logs_in, logged_in_at, unowned_since = True, outing.start, None
            if outing.purpose == "bounce":
                outing.purpose = "browse"
        else:
            unowned_since = since
