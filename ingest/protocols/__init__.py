"""Where wire protocols mount: a path → the function that reads its requests.

A new protocol is one file here with its ROUTES, and one line in ROUTES below. A route takes a Request and
gives an Outcome (request.py): events and rejections to store, what was declined or refused, and the answer.
It is pure: no file, no clock, no network. Two protocols must not claim one path.
"""

from __future__ import annotations

from typing import Final

from ingest.protocols import segment
from ingest.protocols.request import Route

ROUTES: Final[dict[str, Route]] = {**segment.ROUTES}

# Paths with one free part, written with a star.
_PATTERNS: Final = [(path.split("/"), route) for path, route in ROUTES.items() if "*" in path]


def find_route(path: str) -> Route | None:
    """The route of a path, with or without its trailing slash; None if nothing is mounted there."""
    if route := ROUTES.get(path) or ROUTES.get(path.rstrip("/")):
        return route
    parts = path.rstrip("/").split("/")
    for pattern, route in _PATTERNS:
        if len(parts) == len(pattern) and all(p in ("*", q) for p, q in zip(pattern, parts, strict=True)):
            return route
    return None
