"""Random histories of a small shop, and a warehouse in which they have landed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from transforms.definitions import (
    Attribution,
    Definitions,
    Exclude,
    Funnel,
    Identity,
    Journey,
    Lifecycle,
    PageRule,
    PlannedEvent,
    PlannedProperty,
    Retention,
    Sessions,
    Site,
    Step,
)
from warehouse import Warehouse, open_warehouse

START = datetime(2026, 3, 20, 22, 0)  # the clocks of Amsterdam go forward nine days later
MINUTE = timedelta(minutes=1)
PATHS = ("/", "/product/1", "/product/2", "/cart", "/help")
BEHAVIOUR = ("Scroll Reached", "Rage Clicked", "Dead Clicked", "Pointer Moved", "Error Raised", "Page Outlined")
EVENTS = (
    *("Product Viewed", "Product Added", "Order Completed", "Order Refunded", "Engaged", "Element Clicked"),
    *BEHAVIOUR,
    *("Ad Spend", "Email Clicked"),
)
NUMBERS = (0, 7, 399.5, 1999, 12_000, -3, None, "NaN", 1e300)  # what a browser, or somebody else, may say
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
REFERRERS = (None, "https://www.google.com/", "https://shop.example/cart", "https://chatgpt.com/")

DEFINITIONS = Definitions(
    site=Site(timezone="Europe/Amsterdam", hosts=("shop.example",)),
    pages=(PageRule("/help*", "/help"),),
    sessions=Sessions(),
    identity=Identity(stitch_us=3 * 86_400_000_000, max_users_per_device=2),
    funnels=(
        Funnel(
            "checkout",
            (Step(event="Product Viewed"), Step(event="Product Added"), Step(event="Order Completed")),
            window_us=2 * 86_400_000_000,
        ),
        Funnel(
            "visit",
            (Step(page="/"), Step(page="/product/*"), Step(event="Product Added")),
            unit="session",
            entry_period="week",
            breakdown="channel",
            exclude=(Exclude("Order Refunded", 1, 3),),
        ),
        Funnel(
            "ever",
            (Step(page="/*"), Step(event="Order Completed")),
            entry_period="all",
            reentry="optimized",
            window_us=86_400_000_000,
        ),
        Funnel(
            "some days",
            (Step(page="/*"), Step(event="Order Completed")),
            entry_period="all",
            from_=date(2026, 3, 22),
            to=date(2026, 4, 1),
            window_us=86_400_000_000,
        ),
    ),
    attribution=Attribution(lookback_us=4 * 86_400_000_000, touches=("Email Clicked",)),
    events=(
        PlannedEvent(
            "Order Completed", "event_order_completed", (PlannedProperty("revenue", "revenue", "text", True),)
        ),
    ),
    lifecycle=Lifecycle(("Product *", "page")),
    retentions=(
        Retention("buyers", Step(event="Order Completed"), Step(event="Order Completed"), intervals=2, warmup_days=3),
        Retention("daily", Step(page="/"), Step(page="*"), period="day", intervals=3, entry="recurring"),
    ),
    journeys=(
        Journey("from-home", start=Step(page="/"), max_steps=3),
        Journey("to-order", end=Step(event="Order Completed"), events=("Order Completed",), scope="person"),
    ),
)


@dataclass(frozen=True)
class Told:
    """One event as it lands. `minute` counts from START; several at the same minute are common on purpose."""

    number: int
    device: int | None
    user: int | None
    minute: int
    kind: int
    path: int
    agent: int
    referrer: int
    seq: int | None
    id_kind: str

    def row(self) -> dict[str, Any]:
        at = START + self.minute * MINUTE
        is_alias = self.number % 11 == 7 and self.user is not None
        is_page = self.kind >= len(EVENTS) and not is_alias
        name = "alias" if is_alias else "page" if is_page else EVENTS[self.kind]
        properties: dict[str, Any] = {}
        if is_alias:
            # A device of the same pair: persons of the tests that keep them apart stay apart.
            properties = {"previous_id": f"d{(self.device or 0) ^ 1}"}
        elif name == "Order Completed":
            properties = {
                "order_id": f"o{self.number % 7}",
                "revenue": 10 + self.number % 3,
                "products": [{"product_id": "1"}],
            }
        elif name == "Order Refunded":
            properties = {"order_id": f"o{self.number % 7}"}
        elif name == "Ad Spend":
            properties = {"cost": self.number, "channel": (None, "Email", "Paid Search")[self.number % 3]}
        elif name == "Engaged":
            properties = {
                "engaged_ms": (4000 + 1000 * self.number, 0.1, -5, "Infinity", None)[self.number % 5],
                "intervals": [
                    {"scroll_y": NUMBERS[(self.number + place) % len(NUMBERS)], "ms": 1000 + 0.3 * place}
                    for place in range(self.number % 5)
                ],
                "ping": self.number % 3 == 0,
            }
        elif name.endswith(" Clicked"):
            properties = self._place() | {"selector": f"#b{self.number % 2}", "text": "Buy", "el_x": 1, "el_y": 0.25}
        elif name == "Pointer Moved":
            properties = {"points": [self._place(), {"page_x": 5, "page_y": 5}], "sample_rate": 0.3}
        elif name == "Scroll Reached":
            properties = {
                "scroll_max_pct": (35, 100, -1, 140, None)[self.number % 5],
                "scroll_reversals": self.number % 10,
            }
        elif name == "Error Raised":
            properties = {"message": f"Line {self.number % 3} failed", "message_hash": "h"}
        elif name == "Page Outlined":
            properties = {"boxes": [{"selector": "h1", "x": 1, "y": 2, "w": self.number, "h": 4}, {"x": -1}]}
        return {
            "id_hash": self.number,
            "event_id": f"e{self.number:03d}",
            "source": "web",
            "protocol": "jsonl",
            "ingest": "import",
            "type": "alias" if is_alias else "page" if is_page else "track",
            "name": name,
            "anonymous_id": None if self.device is None else f"d{self.device}",
            "user_id": None if self.user is None else f"u{self.user}",
            "id_kind": self.id_kind,
            "seq": self.seq,
            "occurred_at": at,
            "received_at": datetime(2026, 6, 1),
            "url": f"https://shop.example{PATHS[self.path]}",
            "referrer": REFERRERS[self.referrer],
            "properties": json.dumps(properties),
            "page_view_id": None if self.number % 4 else f"v{self.path}",
            "session_hint": (None, "s1", "s1", "s2")[self.number % 4],
            "context": json.dumps(
                {
                    "ua": AGENTS[self.agent],
                    "country": "NL",
                    "campaign": {"source": "news", "medium": "email", "name": self.number % 3}
                    if self.number % 5 == 2
                    else None,
                    "click_id": {"name": "gclid", "value": self.number % 2} if self.number % 7 == 3 else None,
                    "library": {"name": "footfall.js"} if self.number % 8 == 5 else None,
                    "viewport_w": (1280, 800, 390, 0, None)[self.number % 5],
                    "viewport_h": (800, 700, 0, None)[self.number % 4],
                    "document_h": (2400, 700, 1_000_000, None)[self.number % 7 % 4],
                }
            ),
        }

    def _place(self) -> dict[str, Any]:
        """Where a pointer was: now and then on the same place, now and then nowhere."""
        far = NUMBERS[self.number % len(NUMBERS)] if self.number % 3 == 0 else 40 + self.number % 2
        return {
            "page_x": far,
            "page_y": 900 + self.number % 2,
            "client_x": far,
            "client_y": 100,
            "scroll_y": 800,
            "target_fixed": self.number % 6 == 1,
            "capture": ("both", "both", "point", "element")[self.number % 4],
            "sample_rate": (None, 0.3, 0, "x")[self.number % 4],
        }


@dataclass(frozen=True)
class Said:
    """An event with columns of raw.events of its own, beside those that `Told` gives."""

    number: int
    minute: int
    columns: dict[str, Any]

    def row(self) -> dict[str, Any]:
        told = Told(self.number, 0, None, self.minute, len(EVENTS), 0, 0, 0, None, "local")
        return told.row() | self.columns


@st.composite
def events(draw: st.DrawFn, most: int = 40) -> list[Told]:
    """Events of few devices, customers and days, so that they meet: ties, logins, late sessions, programs."""
    count = draw(st.integers(1, most))
    minutes = st.one_of(
        st.integers(0, 240),
        st.integers(0, 16 * 24).map(lambda hour: hour * 60),
        st.integers(0, 16 * 24 * 2).map(lambda half: half * 30),
        st.integers(0, 16 * 24 * 60),
    )
    return [
        Told(
            number=number,
            device=draw(st.sampled_from((0, 0, 0, 1, 1, 2, None))),
            user=draw(st.sampled_from((None, None, None, None, 0, 1, 2))),
            minute=draw(minutes),
            kind=draw(st.integers(0, len(EVENTS) + 4)),
            path=draw(st.integers(0, len(PATHS) - 1)),
            agent=draw(st.sampled_from((0,) * 12 + (1,))),
            referrer=draw(st.integers(0, len(REFERRERS) - 1)),
            seq=draw(st.sampled_from((None, 1, 2))),
            id_kind=draw(st.sampled_from(("local",) * 9 + ("daily",))),
        )
        for number in range(count)
    ]


def warehouse_in_memory() -> Warehouse:
    return open_warehouse(None, threads=1)


def land(warehouse: Warehouse, batch: Sequence[Told | Said], landed_at: datetime) -> None:
    """Put a batch into raw.* as landing does, with the next numbers."""
    last = warehouse.value("select coalesce(max(last_event_no), 0) from raw.landings")
    landing_id = warehouse.value("select coalesce(max(landing_id), 0) + 1 from raw.landings")
    for place, told in enumerate(batch):
        row = told.row() | {
            "event_no": last + 1 + place,
            "landing_id": landing_id,
            "topic": "log",
            "part": "segment",
            "record_offset": landing_id,
            "index_in_record": place,
        }
        names = ", ".join(row)
        warehouse.execute(f"insert into raw.events ({names}) values ({', '.join('$' + name for name in row)})", row)
    warehouse.execute(
        "insert into raw.landings values ($id, $at, $n, $n, 0, 0, 0, $first, $last)",
        {"id": landing_id, "at": landed_at, "n": len(batch), "first": last + 1, "last": last + len(batch)},
    )
    warehouse.execute("delete from raw.clock")
    warehouse.execute("insert into raw.clock values ($at)", {"at": landed_at})


def moved(told: Told, minutes: int) -> Told:
    """The same event at another time."""
    return replace(told, minute=told.minute + minutes)
