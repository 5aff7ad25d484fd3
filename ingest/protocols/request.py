"""What every wire protocol takes and gives back: the request, its source, the outcome."""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from ingest import privacy
from ingest.event import EVENT_BYTES, BrokenEvent, Event, Json, Reason, Rejection

INFLATED_BYTES: Final = 20 * 1024 * 1024
# deflate cannot shrink JSON by more in earnest; 1,000 is its bound for a run of equal bytes.
INFLATED_RATIO: Final = 200
RATIO_FLOOR: Final = 1024 * 1024


class Source(msgspec.Struct, frozen=True):
    """A configured site or app; `write_key` and `aliases` are public, `secret_key` is for servers only."""

    name: str
    write_key: str
    aliases: tuple[str, ...] = ()
    secret_key: str | None = None
    origins: tuple[str, ...] = ()
    id_storage: Literal["local", "session", "none"] = "local"
    consent: Literal["anonymise", "decline", "ignore"] = "anonymise"


class Sources:
    """The configured sources, found by what a client carries."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._by_key = {key: source for source in sources for key in (source.write_key, *source.aliases)}
        self._secrets = [(source.secret_key.encode(), source) for source in sources if source.secret_key]
        self.origins = frozenset(origin for source in sources for origin in source.origins if origin != "*")
        self.is_any_open = any("*" in source.origins for source in sources)

    def find(self, key: str, *, is_browser: bool) -> Source | None:
        """The source of a write key or alias; of a secret key only where no browser sent it."""
        if source := self._by_key.get(key):
            return source
        found = None
        given = key.encode("utf-8", "replace")
        for secret, source in self._secrets:  # all of them, so that time tells nothing
            if hmac.compare_digest(secret, given) and not is_browser:
                found = source
        return found


class Visitor(msgspec.Struct, frozen=True):
    """What the collector knows of the sender of a request, after the source's privacy rules.

    `consent` is what the browser asked and what was done about it; `is_anonymous`: no id may be kept;
    `context` are the defaults of an envelope; `extra` goes to context.extra.
    """

    ua: str | None = None
    ua_hints: dict[str, Json] | None = None
    ip_prefix: str | None = None
    daily_id: str | None = None
    id_storage: Literal["local", "session", "none"] = "local"
    consent: dict[str, Json] | None = None
    is_anonymous: bool = False
    context: dict[str, Json] | None = None
    extra: dict[str, Json] | None = None


class Request(msgspec.Struct, frozen=True):
    """One request. `headers` have lower-case names; `ip` is never kept; `salt` is that of the day."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    ip: str
    salt: bytes
    sources: Sources
    event_bytes: int = EVENT_BYTES
    inflated_bytes: int = INFLATED_BYTES


class Answer(msgspec.Struct, frozen=True):
    """What the client gets."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


class Outcome(msgspec.Struct):
    """The answer and the fates: what to store, and what was declined or refused, by reason (only counted)."""

    answer: Answer
    protocol: str
    source: Source | None = None
    events: list[Event] = msgspec.field(default_factory=list)
    rejections: list[Rejection] = msgspec.field(default_factory=list)
    declined: dict[str, int] = msgspec.field(default_factory=dict)
    refused: str | None = None


Handle = Callable[[Request], Outcome]


class Route(msgspec.Struct, frozen=True):
    """Where a protocol is mounted. `too_large`: the status for a request over its limit."""

    protocol: str
    handle: Handle
    methods: tuple[str, ...]
    too_large: int = 400
    reads_body: bool = True


def error_answer(status: int, code: str, message: str) -> Answer:
    """The body that all Segment clients take as final: {"code": …, "message": …}."""
    return Answer(status, msgspec.json.encode({"code": code, "message": message}))


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding, or without gzip that no header announces.

    Raises BrokenEvent: not_json if it is no such stream, too_large beyond `limit` bytes or a ratio of 200.
    """
    encoding = encoding.strip().lower()
    if body[:2] == b"\x1f\x8b":
        window = 31
    elif encoding == "deflate" and body[:1] != b"{" and body[:1] != b"[":
        window = 15
    elif encoding in ("", "identity", "gzip", "deflate"):
        # Some client libraries announce gzip for a body that they left as it is.
        return body
    else:
        raise BrokenEvent(Reason.NOT_JSON, f"Content-Encoding {encoding[:20]!r} is not supported; use gzip or deflate")
    limit = min(limit, max(RATIO_FLOOR, INFLATED_RATIO * len(body)))
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BrokenEvent(Reason.NOT_JSON, f"the compressed body is damaged: {error}") from None
    if len(plain) > limit:
        raise BrokenEvent(Reason.TOO_LARGE, f"the body is larger than {limit} bytes when inflated")
    if not stream.eof or stream.unused_data:
        raise BrokenEvent(Reason.NOT_JSON, "the compressed body is cut short or has bytes behind its end")
    return plain


def is_origin_allowed(request: Request, source: Source) -> bool:
    """Whether the page that sends this may use the source's key; requests without an Origin are no page's."""
    origin = request.headers.get("origin")
    return origin is None or "*" in source.origins or (origin != "null" and origin in source.origins)


def read_visitor(request: Request, source: Source) -> Visitor | None:
    """What is known of the sender under the source's rules; None if its consent rule declines the request."""
    headers = request.headers
    signals: dict[str, Json] = {}
    if ("sec-gpc" in headers or "dnt" in headers) and source.consent != "ignore":
        signals.update(privacy.privacy_signals(headers))
        if signals and source.consent == "decline":
            return None
    ua = headers.get("user-agent")
    is_anonymous = bool(signals)
    daily = None
    if source.id_storage == "none" and not is_anonymous:
        daily = privacy.daily_id(request.salt, ip=request.ip, ua=ua or "", source=source.name)
    hints: dict[str, Json] = {}
    if "sec-ch-ua" in headers or "sec-ch-ua-platform" in headers:
        for name, value in headers.items():
            if name.startswith("sec-ch-ua"):
                hints[name[10:].replace("-", "_") or "brands"] = value
    return Visitor(
        ua=ua,
        ua_hints=hints or None,
        ip_prefix=privacy.cut_ip(request.ip),
        daily_id=daily,
        id_storage=source.id_storage,
        consent={**signals, "policy": "anonymise"} if signals else None,
        is_anonymous=is_anonymous,
    )
