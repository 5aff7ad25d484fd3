"""Where things are on the shop's pages, as demo/measure.py found them in a browser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec

LAYOUT = Path(__file__).parent / "pages" / "layout.json"
MEASURED = {"desktop": 1512, "tablet": 820, "mobile": 393}
# What people press without going anywhere: part of a selector, and how much it draws.
TEMPTING = (("summary", 5), ("select", 3), ("button#add", 0), ("button#checkout", 0), ("button#place-order", 0),
            ("figure", 1), ("reviews", 2), ("button", 2), ("input", 1))  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """Something on a page that can be pressed; its box is in pixels of the page, of the window if it is fixed."""

    selector: str
    tag: str
    text: str
    fingerprint: str
    to: str
    x: int
    y: int
    w: int
    h: int
    is_fixed: bool


@dataclass(frozen=True)
class Layout:
    """A page in a window: its height in pixels, what can be pressed, and its outline as the tracker sends it."""

    band: str
    height: int
    things: tuple[Thing, ...]
    boxes: tuple[tuple[str, int, int, int, int, bool], ...]

    @cached_property
    def outline(self) -> msgspec.Raw:
        boxes = [
            {"selector": selector, "x": x, "y": y, "w": w, "h": h, "is_fixed": is_fixed}
            for selector, x, y, w, h, is_fixed in self.boxes
        ]
        return msgspec.Raw(msgspec.json.encode({"boxes": boxes, "viewport_band": self.band}))

    @cached_property
    def _by_target(self) -> dict[str, tuple[Thing, ...]]:
        found: dict[str, list[Thing]] = {}
        for thing in self.things:
            if thing.to:
                found.setdefault("/product/" if thing.to.startswith("/product/") else thing.to, []).append(thing)
        return {to: tuple(things) for to, things in found.items()}

    def links(self, path: str) -> tuple[Thing, ...]:
        """What leads to a path: for a product any product's card, as the pages of one kind were measured once."""
        return self._by_target.get("/product/" if path.startswith("/product/") else path, ())

    def thing(self, part: str) -> Thing | None:
        """The first thing whose selector holds `part`."""
        return next((thing for thing in self.things if part in thing.selector), None)

    @cached_property
    def tempting(self) -> tuple[tuple[Thing, ...], tuple[int, ...]]:
        """What is pressed for itself, and how often, cumulated."""
        things, weights, total = [], [], 0
        for thing in self.things:
            weight = next((weight for part, weight in TEMPTING if part in thing.selector or part in thing.to), 0)
            if weight and (not thing.to or thing.to[0] == "#"):
                total += weight
                things.append(thing)
                weights.append(total)
        return tuple(things), tuple(weights)


def band(width: int) -> str:
    return "mobile" if width < 768 else "tablet" if width < 1024 else "desktop"


@cache
def kind(path: str) -> str:
    """The kind of page behind a path."""
    known = {"/": "home", "/search": "list", "/cart": "cart", "/checkout": "checkout", "/checkout/thanks": "thanks"}
    first = {"category": "list", "product": "product", "account": "login"}
    return known.get(path) or first.get(path.split("/")[1], "article")


@cache
def layout(kind: str, width: int, height: int) -> Layout:
    """A page of this kind in a window of this size."""
    name = band(width)
    found = _measured()[f"{kind} {name}"]
    measured = MEASURED[name]

    def moved(box: list[int]) -> tuple[int, int, int, int]:
        x, y, w, h = box
        if w == measured:
            return 0, y, width, h
        # On a desk the page keeps its width and stands in the middle, elsewhere it fills the window.
        if name == "desktop":
            return x + (width - measured) // 2, y, w, h
        return x * width // measured, y, w * width // measured, h

    things = tuple(
        Thing(
            each["selector"],
            each["tag"],
            each["text"],
            each["fingerprint"],
            each["to"],
            *moved(each["box"]),
            each["fixed"],
        )
        for each in found["things"]
    )
    boxes = tuple((each[0], *moved(each[1:5]), each[5]) for each in found["boxes"])
    return Layout(name, max(height, found["height"]), things, boxes)


@cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(LAYOUT.read_bytes())
    return found
