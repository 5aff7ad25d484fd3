"""The demo's events as SDKs write them: the Segment spec, one JSON object an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Campaign(msgspec.Struct, frozen=True, omit_defaults=True):
    source: str
    medium: str
    name: str
    content: str | None = None


class Screen(msgspec.Struct, frozen=True, rename="camel"):
    """The screen, and as `inner` the part of it that shows the page, in pixels."""

    width: int
    height: int
    inner_width: int
    inner_height: int


class Location(msgspec.Struct, frozen=True):
    country: str


class Library(msgspec.Struct, frozen=True):
    name: str
    version: str


class Page(msgspec.Struct, omit_defaults=True):
    url: str
    path: str
    title: str
    referrer: str | None = None


class Context(msgspec.Struct, omit_defaults=True, rename={"user_agent": "userAgent"}):
    library: Library
    user_agent: str | None = None
    locale: str | None = None
    timezone: str | None = None
    location: Location | None = None
    screen: Screen | None = None
    campaign: Campaign | None = None
    page: Page | None = None
    page_view_id: str | None = None
    document_w: int | None = None  # the whole page, in pixels
    document_h: int | None = None


class Event(msgspec.Struct, omit_defaults=True, rename="camel"):
    """One call. `sent_at` is filled at the moment of sending, by whoever sends."""

    message_id: str
    type: str
    timestamp: str
    context: msgspec.Raw  # of a Context, encoded once a page
    event: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    properties: Mapping[str, Any] | msgspec.Raw | None = None
    traits: dict[str, Any] | None = None
    sent_at: str | None = None
    write_key: str | None = None


class Batch(msgspec.Struct, omit_defaults=True, rename="camel"):
    batch: list[Event]
    sent_at: str
    write_key: str | None = None


class Call(msgspec.Struct):
    """One request of a live visitor: its events, the way its SDK sends, how often it comes.

    `style`: `batch` (our tracker), `short` (text/plain to /v1/p, key in the body), `long` (JSON to /v1/page,
    key as Basic user). `skew_ms` is how far the client's clock is ahead; its timestamps are already shifted.
    """

    style: str
    events: list[Event]
    skew_ms: int = 0
    copies: int = 1
