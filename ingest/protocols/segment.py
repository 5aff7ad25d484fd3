"""The Segment spec, our native protocol: the requests of Segment, RudderStack, Jitsu and our own tracker."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from ingest.event import (
    BrokenEvent,
    Event,
    Json,
    Reason,
    Rejection,
    decode_json,
    is_plain,
    keep,
    read_time,
    write_time,
)
from ingest.protocols.request import (
    Answer,
    Outcome,
    Request,
    Route,
    Source,
    error_answer,
    inflate,
    is_origin_allowed,
    read_visitor,
)
from ingest.protocols.segment_event import PROTOCOL, Arrival, read_arrived, read_event

__all__ = ["ROUTES", "read_event"]

SUCCESS: Final = Answer(200, b'{"success":true}')
GIF: Final = Answer(
    200,
    base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"),
    content_type="image/gif",
)
LETTERS: Final = {"t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias"}
MANY_EVENTS: Final = 10_000
NAMED_REJECTIONS: Final = 1000
KEY_HELP: Final = "the write key names no source; compare it with write_key in footfall.toml"

_split_batch = msgspec.json.Decoder(type=dict[str, msgspec.Raw])
_split_list = msgspec.json.Decoder(type=list[msgspec.Raw])


def take_event(request: Request) -> Outcome:
    """POST of one event; the last part of the path is its type where it has none itself."""
    return _take(request, is_batch=False)


def take_batch(request: Request) -> Outcome:
    """POST of {"batch": […], "sentAt"?, "context"?, "writeKey"?}."""
    return _take(request, is_batch=True)


def take_pixel(request: Request) -> Outcome:
    """GET of one event in the query; answers a picture whatever happens, because nobody reads more."""
    source = _find_source(request, request.query.get("writeKey"))
    if source is None:
        return Outcome(error_answer(401, "unknown_key", KEY_HELP), PROTOCOL, declined={"unknown_key": 1})
    if blocked := _refuse_origin(request, source):
        return blocked
    item: dict[str, Json] = {}
    for key, value in request.query.items():
        if key in ("properties", "context", "traits"):
            try:
                item[key] = decode_json(value.encode("utf-8", "replace"))
            except BrokenEvent:
                item[key] = value
        elif key != "writeKey":
            item[key] = value
    arrival = _arrival(request, source)
    if arrival is None:
        return Outcome(GIF, PROTOCOL, source, declined={"consent": 1})
    return _settle(Outcome(GIF, PROTOCOL, source), [read_arrived(item, arrival)])


def _take(request: Request, *, is_batch: bool) -> Outcome:
    key = read_key(request)
    source = None
    if key is not None:
        source = _find_source(request, key)
        if source is None:  # before the body costs anything
            return _unknown_key()
        if blocked := _refuse_origin(request, source):
            return blocked
    try:
        body = inflate(request.body, request.headers.get("content-encoding", ""), request.inflated_bytes)
        if source is not None and not is_batch and len(body) > request.event_bytes:
            envelope = Envelope([body], False, bytes_n=len(body))  # too large: not worth reading
        else:
            envelope = _read_envelope(body, is_batch=is_batch)
        if envelope.size() > MANY_EVENTS:
            raise BrokenEvent(Reason.TOO_LARGE, f"more than {MANY_EVENTS:,} events in one request")
    except BrokenEvent as broken:
        return _unreadable(request, source, broken)
    if source is None:
        given = envelope.key
        source = _find_source(request, given)
        if source is None:
            return _unknown_key(envelope.size())
        if blocked := _refuse_origin(request, source):
            return blocked
    try:
        arrival = _arrival(request, source, envelope)
    except BrokenEvent as broken:
        return _unreadable(request, source, broken)
    if arrival is None:
        return Outcome(SUCCESS, PROTOCOL, source, declined={"consent": envelope.size()})
    return _settle(Outcome(SUCCESS, PROTOCOL, source), _read_items(envelope, arrival, request.event_bytes))


# --- key and source ---------------------------------------------------------------------------------------


def read_key(request: Request) -> str | None:
    """The write key outside the body: Basic user name, X-Write-Key (Jitsu: key:secret), query writeKey."""
    authorization = request.headers.get("authorization", "")
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            user = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            return ""
        if user:
            return user
    elif scheme:
        return ""  # OAuth and the like: not supported, and no key
    if header := request.headers.get("x-write-key"):
        return header.partition(":")[0]
    return request.query.get("writeKey") or None


def _find_source(request: Request, key: str | None) -> Source | None:
    return request.sources.find(key, is_browser="origin" in request.headers) if key else None


def _unknown_key(event_n: int = 1) -> Outcome:
    return Outcome(error_answer(401, "unknown_key", KEY_HELP), PROTOCOL, declined={"unknown_key": event_n})


def _refuse_origin(request: Request, source: Source) -> Outcome | None:
    if is_origin_allowed(request, source):
        return None
    answer = error_answer(403, "origin_not_allowed", "the page's origin is not in the origins of this source")
    return Outcome(answer, PROTOCOL, source, refused="origin_not_allowed")


# --- body -------------------------------------------------------------------------------------------------


class Envelope(msgspec.Struct):
    """A readable request: its events, each a decoded dict or its bytes, and what it says of all of them."""

    items: list[Json]
    plain: bool
    key: str | None = None
    sent_at: Json = None
    context: Json = None
    bytes_n: int = 0

    def size(self) -> int:
        return len(self.items)


def _read_envelope(body: bytes, *, is_batch: bool) -> Envelope:
    """Raises BrokenEvent if the request as such cannot be read."""
    plain = is_plain(body)
    try:
        value = decode_json(body)
    except BrokenEvent:
        if not is_batch:
            raise
        return _split_envelope(body)
    if not isinstance(value, dict):
        raise BrokenEvent(Reason.BAD_TYPE, "the body must be a JSON object")
    key = value.get("writeKey")
    key = key if isinstance(key, str) else None
    if not is_batch:
        return Envelope([value], plain, key=key, bytes_n=len(body))
    items = value.get("batch")
    if items is None:
        raise BrokenEvent(Reason.MISSING_FIELD, "batch is missing")
    if not isinstance(items, list):
        raise BrokenEvent(Reason.BAD_TYPE, "batch must be a list")
    return Envelope(items, plain, key, value.get("sentAt"), value.get("context"), len(body))


def _split_envelope(body: bytes) -> Envelope:
    """The batch with each event as its own bytes, so that one broken event does not take the others along."""
    try:
        parts = _split_batch.decode(body.removeprefix(b"\xef\xbb\xbf"))
        items = _split_list.decode(parts["batch"])
    except RecursionError:
        raise BrokenEvent(Reason.TOO_DEEP, "the request is nested too deep") from None
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise BrokenEvent(Reason.NOT_JSON, f"not JSON: {error}") from None
    rest = {name: decode_json(bytes(parts[name])) for name in ("writeKey", "sentAt", "context") if name in parts}
    key = rest.get("writeKey")
    return Envelope(
        [bytes(item) for item in items],
        False,
        key if isinstance(key, str) else None,
        rest.get("sentAt"),
        rest.get("context"),
        len(body),
    )


def _arrival(request: Request, source: Source, envelope: Envelope | None = None) -> Arrival | None:
    """What the events of the request share; None where consent declines them."""
    visitor = read_visitor(request, source)
    if visitor is None:
        return None
    sent_at = None
    if envelope is not None:
        sent_at = read_time(envelope.sent_at, "sentAt")
        if isinstance(envelope.context, dict) and envelope.context:
            visitor = msgspec.structs.replace(visitor, context=envelope.context)
    if "anonymousid" in request.headers or "sentat" in request.headers:
        headers = {name: request.headers[low] for name, low in _EXTRA_HEADERS if low in request.headers}
        visitor = msgspec.structs.replace(visitor, extra=headers)
    last = request.path.rstrip("/").rpartition("/")[2]
    default_type = LETTERS.get(last, last)
    return Arrival(
        source=source.name,
        protocol=PROTOCOL,
        ingest="live",
        received_at=request.received_at,
        received=write_time(request.received_at),
        sent_at=sent_at,
        visitor=visitor,
        default_type=default_type if default_type in _TYPES else None,
    )


_EXTRA_HEADERS: Final = (("AnonymousId", "anonymousid"), ("SentAt", "sentat"))
_TYPES: Final = frozenset(LETTERS.values())


def _read_items(envelope: Envelope, arrival: Arrival, event_bytes: int) -> list[Event | Rejection]:
    lines: list[Event | Rejection] = []
    may_be_large = envelope.bytes_n > event_bytes
    for item in envelope.items:
        if may_be_large:
            data = item if isinstance(item, bytes) else msgspec.json.encode(item)
            if len(data) > event_bytes:
                detail = f"the event has {len(data)} bytes, more than {event_bytes}"
                lines.append(
                    Rejection(
                        Reason.TOO_LARGE,
                        detail,
                        keep(data),
                        arrival.received,
                        arrival.source,
                        arrival.protocol,
                    )
                )
                continue
        lines.append(read_arrived(item, arrival, plain=envelope.plain))
    return lines


# --- outcome ----------------------------------------------------------------------------------------------


def _settle(outcome: Outcome, lines: list[Event | Rejection]) -> Outcome:
    """The outcome with its events and rejections; the answer names each rejected event and why."""
    rejected: list[dict[str, Json]] = []
    for index, line in enumerate(lines):
        if isinstance(line, Rejection):
            outcome.rejections.append(line)
            if len(rejected) < NAMED_REJECTIONS:
                rejected.append({"index": index, "reason": line.reason, "detail": line.detail})
        else:
            outcome.events.append(line)
    if rejected and outcome.answer.content_type == "application/json":
        outcome.answer = Answer(200, msgspec.json.encode({"success": True, "rejected": rejected}))
    return outcome


def _unreadable(request: Request, source: Source | None, broken: BrokenEvent) -> Outcome:
    """400, after which these clients stop; a beacon, which sees no answer, is kept as a rejection instead."""
    is_beacon = request.path.startswith("/beacon/") or request.query.get("beacon") == "1"
    if source is not None and is_beacon:
        rejection = Rejection(
            broken.reason,
            broken.detail,
            keep(request.body),
            write_time(request.received_at),
            source.name,
            PROTOCOL,
        )
        return Outcome(SUCCESS, PROTOCOL, source, rejections=[rejection])
    return Outcome(error_answer(400, broken.reason, broken.detail), PROTOCOL, source, refused=broken.reason)


# --- stubs that the vendors' scripts ask for --------------------------------------------------------------


def settings(request: Request) -> Outcome:
    """GET /v1/projects/{key}/settings: without it Segment's script does not load."""
    key = request.path.strip("/").split("/")[2]
    host = request.headers.get("host", "")
    integration = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": "https"}
    body = {"integrations": {"Segment.io": integration}, "metrics": {"sampleRate": 0}}
    return Outcome(Answer(200, msgspec.json.encode(body)), PROTOCOL)


def source_config(request: Request) -> Outcome:
    """GET /sourceConfig/?writeKey=: RudderStack's script tests id, config and destinations."""
    key = request.query.get("writeKey") or read_key(request) or ""
    source = {
        "id": key,
        "name": key,
        "workspaceId": "footfall",
        "enabled": True,
        "config": {},
        "destinations": [],
    }
    return Outcome(Answer(200, msgspec.json.encode({"source": source})), PROTOCOL)


def discard(request: Request) -> Outcome:  # noqa: ARG001
    """The clients' metrics of themselves: taken and thrown away."""
    return Outcome(SUCCESS, PROTOCOL)


_EVENT: Final = Route(PROTOCOL, take_event, ("POST",))
_BATCH: Final = Route(PROTOCOL, take_batch, ("POST",))
_PIXEL: Final = Route(PROTOCOL, take_pixel, ("GET",), reads_body=False)
_DISCARD: Final = Route(PROTOCOL, discard, ("POST",))

ROUTES: Final[dict[str, Route]] = {
    **{f"/v1/{letter}": _EVENT for letter in LETTERS},
    **{f"/v1/{type_}": _EVENT for type_ in LETTERS.values()},
    **{f"/api/s/{type_}": _EVENT for type_ in LETTERS.values()},
    **{f"/api/s/s2s/{type_}": _EVENT for type_ in LETTERS.values()},
    **{f"/v1/{name}": _BATCH for name in ("batch", "b", "import")},
    "/beacon/v1/batch": _BATCH,
    "/pixel/v1/track": _PIXEL,
    "/pixel/v1/page": _PIXEL,
    "/v1/m": _DISCARD,
    "/rsaMetrics": _DISCARD,
    "/sourceConfig": Route(PROTOCOL, source_config, ("GET",), reads_body=False),
    "/v1/projects/*/settings": Route(PROTOCOL, settings, ("GET",), reads_body=False),
}
