"""What a business wants to know, as plain values: the definitions that models work from.

Field names and defaults are those of footfall.toml; config.py checks what people write, these carry it.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US


class Site(msgspec.Struct, frozen=True):
    name: str = "site"
    timezone: str = "UTC"
    currency: str = "EUR"
    revenue_includes: tuple[Literal["tax", "shipping"], ...] = ()
    key_events: tuple[str, ...] = ("Order Completed",)
    hosts: tuple[str, ...] = ()  # own domains: no referrers
    ignore_referrers: tuple[str, ...] = ()


class PageRule(msgspec.Struct, frozen=True):
    """Paths that match the glob are counted under another name."""

    match: str
    as_: str = msgspec.field(name="as")


class Step(msgspec.Struct, frozen=True):
    """What an event must be: its name (a glob) or its page path (a glob), and values it must carry.

    `where` maps a property name, or a column of core.events, to the value it must equal.
    """

    event: str | None = None
    page: str | None = None
    where: dict[str, str | int | float | bool] = {}

    @property
    def label(self) -> str:
        return self.event or self.page or ""


class Exclude(msgspec.Struct, frozen=True):
    """An event between two steps (numbered from 1) that takes an attempt out of the funnel."""

    event: str
    from_: int = msgspec.field(name="from")
    to: int


class Sessions(msgspec.Struct, frozen=True):
    gap_us: int = 30 * MINUTE_US
    cap_us: int = DAY_US
    ignore: tuple[str, ...] = ()
    cut_at_midnight: bool = False
    cut_on_client_id: bool = False
    cut_on_campaign: bool = False
    cut_on_user_change: bool = False
    cut_on_events: tuple[str, ...] = ("Session Started",)
    heartbeat_s: int = 10
    min_visit_s: int = 5


class Identity(msgspec.Struct, frozen=True):
    stitch_us: int = 30 * DAY_US
    max_users_per_device: int = 3
    id_blocklist: tuple[str, ...] = ()  # ids, in small letters, that stand for nobody


class Bots(msgspec.Struct, frozen=True):
    max_eps: int = 20
    max_day: int = 5000


class Friction(msgspec.Struct, frozen=True):
    """When a visitor is stuck; distances in pixels."""

    n: int = 3  # clicks that make a burst of rage
    within_us: int = 1_000_000  # each less than this after the one before
    within_px: int = 30  # and less than this from it, |dx| + |dy|
    quick_back_us: int = 5_000_000  # a page left for the one before in less than this
    reversals: int = 8  # changes of the scroll direction on a page view


class Funnel(msgspec.Struct, frozen=True):
    name: str
    steps: tuple[Step, ...]
    order: Literal["ordered", "strict", "any"] = "ordered"
    window_us: int | None = 14 * DAY_US
    step_window_us: tuple[int, ...] | None = None  # one per step after the first
    unit: Literal["person", "session"] = "person"
    entry_period: Literal["day", "week", "month", "all"] = "day"
    from_: date | None = msgspec.field(
        name="from", default=None
    )  # of all: first local date of entry; None: of the data
    to: date | None = None  # of all: last local date of entry; None: those whose window is over
    reentry: Literal["first", "optimized"] = "first"
    counting: Literal["uniques", "totals"] = "uniques"
    exclude: tuple[Exclude, ...] = ()
    strict_ignore: tuple[str, ...] = ("Element Clicked", "Rage Clicked", "Dead Clicked", "Experiment Viewed")
    ties: Literal["either", "strict"] = "either"
    either_within_us: int = 0
    breakdown: str | None = None
    breakdown_from: str = "first_step"  # first_step | last_step | step:k | first_touch


class Retention(msgspec.Struct, frozen=True):
    name: str
    start: Step
    returns: Step
    period: Literal["day", "week", "month"] = "week"
    intervals: int = 8
    entry: Literal["first_ever", "recurring"] = "first_ever"
    clock: Literal["calendar", "rolling_24h"] = "calendar"
    mode: Literal["exact", "on_or_after", "brackets"] = "exact"
    brackets: tuple[tuple[int, int], ...] = ((1, 1), (2, 7), (8, 30))
    min_occurrences: int = 1
    value: str = "count"  # or sum(prop)
    reference: Literal["total", "previous"] = "total"  # what retained_pct is a share of: the cohort, or the cell before
    warmup_days: int = 30
    breakdown: str | None = None


class Lifecycle(msgspec.Struct, frozen=True):
    active_events: tuple[str, ...] = ()  # names of what counts as being active; none set: all events that bear sessions


class Journey(msgspec.Struct, frozen=True):
    name: str
    start: Step | None = None
    end: Step | None = None
    events: tuple[str, ...] = ()  # event names that are nodes beside pages
    clean: tuple[PageRule, ...] = ()
    include: tuple[str, ...] = ()  # only nodes that match one of them; none set: all
    exclude: tuple[str, ...] = ()
    max_steps: int = 5
    scope: Literal["session", "person"] = "session"
    window_us: int = DAY_US


class PlannedProperty(msgspec.Struct, frozen=True):
    name: str
    column: str  # its column in the event's view
    type: Literal["text", "number", "integer", "boolean", "time", "list", "object", "any"] = "any"
    is_required: bool = False


class PlannedEvent(msgspec.Struct, frozen=True):
    """An event of the tracking plan: what it must carry, and the view marts.event_… that shows it."""

    name: str
    view: str
    properties: tuple[PlannedProperty, ...] = ()


class Attribution(msgspec.Struct, frozen=True):
    lookback_us: int = 30 * DAY_US
    touches: tuple[str, ...] = ()  # names of events that are contacts, beside sessions
    since_last_conversion: bool = False  # contacts before the person's last conversion do not count again


class Definitions(msgspec.Struct, frozen=True):
    """All that the models need to know of a home; `msgspec.convert` makes it of plain values."""

    site: Site = Site()
    pages: tuple[PageRule, ...] = ()
    sessions: Sessions = Sessions()
    identity: Identity = Identity()
    bots: Bots = Bots()
    friction: Friction = Friction()
    funnels: tuple[Funnel, ...] = ()
    retentions: tuple[Retention, ...] = ()
    lifecycle: Lifecycle = Lifecycle()
    journeys: tuple[Journey, ...] = ()
    attribution: Attribution = Attribution()
    events: tuple[PlannedEvent, ...] = ()
