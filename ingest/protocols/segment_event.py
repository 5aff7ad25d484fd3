"""One event in the Segment spec → the canonical event, by the mapping of protocols section 1."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from ingest.event import (
    TYPES,
    BrokenEvent,
    Event,
    Json,
    Reason,
    Rejection,
    decode_json,
    is_plain,
    keep,
    new_id,
    read_id,
    read_object,
    read_time,
    tidy,
    write_time,
)
from ingest.privacy import cut_ip, is_bare, read_address
from ingest.protocols.request import Visitor

PROTOCOL: Final = "segment"
NOBODY: Final = Visitor()
OUR_LIBRARIES: Final = ("footfall.js", "footfall")
CAMPAIGN: Final = ("source", "medium", "name", "term", "content")
PAGE_FIELDS: Final = (
    "url",
    "referrer",
    "title",
    "path",
    "search",
    "initial_referrer",
    "initial_referring_domain",
)
DEVICE_IDS: Final = ("device", "clientIds", "traits", "AnonymousId", "externalId")


class Arrival(msgspec.Struct, frozen=True):
    """What all events of one request share."""

    source: str
    protocol: str
    ingest: Literal["live", "import"]
    received_at: datetime
    received: str
    sent_at: str | None
    visitor: Visitor
    default_type: str | None


def read_event(
    item: bytes | msgspec.Raw | dict[str, Any],
    *,
    source: str,
    received_at: datetime,
    sent_at: datetime | None = None,
    protocol: str = PROTOCOL,
    ingest: Literal["live", "import"] = "live",
    defaults: Visitor = NOBODY,
    default_type: str | None = None,
) -> Event | Rejection:
    """One event in the Segment spec → the canonical event, or the rejection that names what is wrong.

    Times are UTC; `sent_at` counts where the event has none; `defaults` is what is known of the sender;
    `default_type` stands in for an absent type. Never raises for what a client can send.
    """
    arrival = Arrival(
        source=source,
        protocol=protocol,
        ingest=ingest,
        received_at=received_at,
        received=write_time(received_at),
        sent_at=None if sent_at is None else write_time(sent_at),
        visitor=defaults,
        default_type=default_type,
    )
    return read_arrived(item, arrival)


def read_arrived(
    item: bytes | msgspec.Raw | dict[str, Any], arrival: Arrival, *, plain: bool = False
) -> Event | Rejection:
    """`plain`: the dict comes from JSON bytes for which `is_plain` said yes."""
    try:
        value: Json = item
        if type(item) is not dict and isinstance(item, bytes | msgspec.Raw):
            data = bytes(item)
            plain = is_plain(data)
            value = decode_json(data)
        if not plain:
            value = tidy(value)
        if type(value) is not dict:
            raise BrokenEvent(Reason.BAD_TYPE, "an event must be an object")
        event = _map(value.copy() if value is item else value, arrival)
        if not plain:
            tidy(event.context, 31)
            tidy(event.properties, 31)
        return event
    except BrokenEvent as broken:
        return _reject(broken.reason, broken.detail, _bytes_of(item), arrival)
    except Exception as error:  # a fault of ours must not cost the client its event
        return _reject(
            Reason.ADAPTER_ERROR,
            f"footfall could not map it: {type(error).__name__}",
            _bytes_of(item),
            arrival,
        )


def _bytes_of(item: Json) -> bytes:
    if isinstance(item, bytes | msgspec.Raw):
        return bytes(item)
    try:
        return msgspec.json.encode(item)
    except Exception:  # such a value came from no JSON
        return repr(item).encode("utf-8", "replace")


def _reject(reason: Reason, detail: str, data: bytes, arrival: Arrival) -> Rejection:
    return Rejection(
        reason=reason,
        detail=detail,
        bytes=keep(data),
        source=arrival.source,
        protocol=arrival.protocol,
        received_at=arrival.received,
    )


# --- mapping ----------------------------------------------------------------------------------------------


def _map(item: dict[str, Json], arrival: Arrival) -> Event:
    """The section's mapping; takes `item` apart, and what is left at the end goes to context.extra."""
    take = item.pop
    visitor = arrival.visitor
    type_ = take("type", None)
    if type_ is None:
        type_ = arrival.default_type
        if type_ is None:
            raise BrokenEvent(Reason.MISSING_FIELD, "type is missing")
    if type(type_) is not str:
        raise BrokenEvent(Reason.BAD_TYPE, "type must be text")
    if type_ not in TYPES:
        raise BrokenEvent(Reason.UNKNOWN_TYPE, f"type {type_[:40]!r} is none of {', '.join(sorted(TYPES))}")

    event_id = read_id(take("messageId", None), "messageId") or new_id(arrival.received_at)
    anonymous_id = read_id(take("anonymousId", None), "anonymousId")
    user_id = read_id(take("userId", None), "userId")
    properties = read_object(take("properties", None), "properties")
    traits = read_object(take("traits", None), "traits")
    sent = read_object(take("context", None), "context")
    if visitor.context:
        sent = {**visitor.context, **sent}
    take("writeKey", None)

    occurred_at = read_time(take("timestamp", None), "timestamp")
    if occurred_at is None:  # else RudderStack's originalTimestamp stays in the item, and so goes to extra
        occurred_at = read_time(take("originalTimestamp", None), "originalTimestamp")
    sent_at = read_time(take("sentAt", None), "sentAt") or arrival.sent_at

    event = Event(
        event_id=event_id,
        source=arrival.source,
        protocol=arrival.protocol,
        ingest=arrival.ingest,
        type=type_,
        name=type_,
        anonymous_id=anonymous_id,
        user_id=user_id,
        occurred_at=occurred_at or arrival.received,
        sent_at=sent_at,
        received_at=arrival.received,
        properties=properties,
        context={},
    )
    extra: dict[str, Json] = {}
    _put_name(event, item)
    context_traits = _put_context(event, sent, extra)
    if event.type in ("identify", "group"):
        traits = traits or context_traits
        context_traits = {}
    if context_traits:
        extra["traits"] = context_traits
    event.traits = traits or None
    if item:
        extra.update((key, value) for key, value in item.items() if value is not None and value != {})
    if occurred_at is None:
        event.context["time_source"] = "received"
    _put_page(event, sent.get("page"), extra, is_anonymous=visitor.is_anonymous)
    _put_visitor(event, visitor, extra)
    if extra:
        event.context["extra"] = extra
    return event


def _put_name(event: Event, item: dict[str, Json]) -> None:
    properties = event.properties
    if event.type == "track":
        name = item.pop("event", None)
        if name is None or name == "":
            raise BrokenEvent(Reason.MISSING_FIELD, "event, the name of a track call, is missing")
        if type(name) is not str:
            raise BrokenEvent(Reason.BAD_TYPE, "event must be text")
        event.name = name
        if name == "Page Unloaded" and "visitDuration" in properties:  # RudderStack's beacon
            event.name = "Scroll Reached"
            properties["page_leave"] = True
            properties["dwell_ms"] = properties.pop("visitDuration")
    else:
        for key, name in (("groupId", "group_id"), ("previousId", "previous_id")):
            if key in item and (id_ := read_id(item.pop(key), key)) is not None:
                properties[name] = id_
    if item:
        for key in ("name", "category"):
            if (value := item.pop(key, None)) is not None:
                properties.setdefault(key, value)


def _put_context(event: Event, sent: dict[str, Json], extra: dict[str, Json]) -> dict[str, Json]:
    """Fills the event from `context`; gives back `context.traits`. What has the wrong kind goes to extra."""
    context = event.context
    traits: dict[str, Json] = {}
    for key, value in sent.items():
        if value is None or key == "page":
            continue
        if put := _CONTEXT.get(key):
            left = put(event, context, value)
            if left is not None:
                extra[key] = left
        elif key == "traits" and type(value) is dict:
            traits = value
        elif value != {}:
            extra[key] = value
    return traits


def _text_to(name: str) -> Callable[[Event, dict[str, Json], Json], Json]:
    def put(_: Event, context: dict[str, Json], value: Json) -> Json:
        if type(value) is not str:
            return value
        if value:
            context[name] = value
        return None

    return put


def _any_to(name: str) -> Callable[[Event, dict[str, Json], Json], Json]:
    def put(_: Event, context: dict[str, Json], value: Json) -> Json:
        context[name] = value
        return None

    return put


def _put_session(event: Event, _: dict[str, Json], value: Json) -> Json:
    if type(value) is int:  # RudderStack counts in epoch milliseconds
        value = str(value)
    event.session_hint = read_id(value, "context.session_hint")
    return None


def _put_page_view_id(event: Event, _: dict[str, Json], value: Json) -> Json:
    event.page_view_id = read_id(value, "context.page_view_id")
    return None


def _put_seq(event: Event, _: dict[str, Json], value: Json) -> Json:
    if type(value) is not int:
        raise BrokenEvent(Reason.BAD_TYPE, "context.seq must be an integer")
    event.seq = value
    return None


def _size_to(name: str) -> Callable[[Event, dict[str, Json], Json], Json]:
    def put(_: Event, context: dict[str, Json], value: Json) -> Json:
        if type(value) is not int or value < 0:
            return value
        context[name] = value
        return None

    return put


def _put_sizes(_: Event, context: dict[str, Json], value: Json) -> Json:
    if type(value) is not dict:
        return value
    left = {}
    for key, size in value.items():
        name = _SIZES.get(key)
        if name and type(size) is int and size >= 0:
            context[name] = size
        elif name and type(size) is float and size >= 0:
            context[name] = round(size)
        else:
            left[key] = size
    return left or None


def _put_campaign(_: Event, context: dict[str, Json], value: Json) -> Json:
    if type(value) is not dict:
        return value
    known = {key: value[key] for key in CAMPAIGN if type(value.get(key)) is str and value[key]}
    if known:
        context["campaign"] = known
    left = {key: inner for key, inner in value.items() if key not in known}
    return left or None


def _put_location(_: Event, context: dict[str, Json], value: Json) -> Json:
    if type(value) is not dict:
        return value
    if type(country := value.get("country")) is str and country:
        context["country"] = country
        value = {key: inner for key, inner in value.items() if key != "country"}
    return value or None


def _put_ip(_: Event, context: dict[str, Json], value: Json) -> Json:
    # The whole address is nowhere kept, not even in extra.
    if type(value) is str and (prefix := cut_ip(value)):
        context["ip_prefix"] = prefix
    return None


def _put_auto_track(event: Event, _: dict[str, Json], value: Json) -> Json:
    if type(value) is dict and type(page := value.get("page")) is dict:
        page_view_id = page.get("pageViewId")
        if type(page_view_id) is str and event.page_view_id is None:
            event.page_view_id = read_id(page_view_id, "context.autoTrack.page.pageViewId")
            return None if len(value) == 1 and len(page) == 1 else value
    return value


_SIZES: Final = {
    "width": "screen_w",
    "height": "screen_h",
    "innerWidth": "viewport_w",
    "innerHeight": "viewport_h",
    "documentWidth": "document_w",
    "documentHeight": "document_h",
}
_CONTEXT: Final[dict[str, Callable[[Event, dict[str, Json], Json], Json]]] = {
    "userAgent": _text_to("ua"),
    "userAgentData": _any_to("ua_hints"),
    "ua-ch": _any_to("ua_hints"),
    "locale": _text_to("locale"),
    "timezone": _text_to("timezone"),
    "library": _any_to("library"),
    "consentManagement": _any_to("consent"),
    "consent": _any_to("consent"),
    "document_w": _size_to("document_w"),
    "document_h": _size_to("document_h"),
    "screen": _put_sizes,
    "campaign": _put_campaign,
    "location": _put_location,
    "ip": _put_ip,
    "autoTrack": _put_auto_track,
    "sessionId": _put_session,
    "session_hint": _put_session,
    "page_view_id": _put_page_view_id,
    "seq": _put_seq,
}


def _put_page(event: Event, page: Json, extra: dict[str, Json], *, is_anonymous: bool) -> None:
    """url, referrer and title after the PII rule; the page's other fields to extra.page."""
    properties, context = event.properties, event.context
    fields: dict[str, Json] = page if type(page) is dict else {}
    if event.type == "page":
        own = {key: properties.pop(key) for key in PAGE_FIELDS if type(properties.get(key)) is str}
        if own:
            fields = {**fields, **own}
    elif page is not None and not fields:
        extra["page"] = page
    rest: dict[str, Json] = {}
    dropped_n = 0
    for key, value in fields.items():
        if type(value) is not str:
            rest[key] = value
        elif key == "title":
            event.title = value or None
        elif value and is_bare(value):
            if key == "url":
                event.url = value
            elif key == "referrer":
                event.referrer = value
            else:
                rest[key] = value
        elif value:
            address = read_address(value, drop_click_ids=is_anonymous)
            dropped_n += address.dropped_n
            if key == "url":
                event.url = address.url
                if address.campaign and "campaign" not in context:
                    context["campaign"] = address.campaign
                if address.click_id:
                    context["click_id"] = address.click_id
            elif key == "referrer":
                event.referrer = address.url
            else:
                rest[key] = address.url
    for key, value in properties.items():
        if type(value) is str and "=" in value and value.startswith(("http", "/", "?")):
            address = read_address(value, drop_click_ids=is_anonymous)
            dropped_n += address.dropped_n
            properties[key] = address.url
    if rest:
        extra["page"] = rest
    if dropped_n:
        extra["pii_dropped_n"] = dropped_n


def _put_visitor(event: Event, visitor: Visitor, extra: dict[str, Json]) -> None:
    """What the request says of the sender, and what the source's privacy rules leave of the ids."""
    context = event.context
    if visitor.ua and "ua" not in context:
        context["ua"] = visitor.ua
    if visitor.ua_hints and "ua_hints" not in context:
        context["ua_hints"] = visitor.ua_hints
    if visitor.ip_prefix and "ip_prefix" not in context:
        context["ip_prefix"] = visitor.ip_prefix
    if visitor.extra:
        extra.update(visitor.extra)
    if visitor.consent:
        sent = context.get("consent")
        context["consent"] = {**(sent if type(sent) is dict else {}), **visitor.consent}
    if visitor.is_anonymous:
        event.anonymous_id = event.user_id = event.session_hint = event.traits = None
        for key in ("group_id", "previous_id"):
            event.properties.pop(key, None)
        for key in DEVICE_IDS:
            extra.pop(key, None)
    elif visitor.daily_id:
        event.anonymous_id, event.id_kind = visitor.daily_id, "daily"
        extra.pop("AnonymousId", None)
    elif event.anonymous_id is not None:
        library = context.get("library")
        is_ours = type(library) is dict and library.get("name") in OUR_LIBRARIES
        event.id_kind = "given" if not is_ours or visitor.id_storage == "none" else visitor.id_storage
