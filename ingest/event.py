"""The canonical event: its shape, the checks of each field, and its one line of JSON on the log."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

Bytes: TypeAlias = bytes  # inside Rejection the bare name is the field
Json: TypeAlias = Any  # what JSON decodes to; its kind is asked wherever it matters

ID_LENGTH: Final = 200
DEPTH: Final = 32
EVENT_BYTES: Final = 256 * 1024
KEPT_BYTES: Final = 64 * 1024
MANY_VALUES: Final = 1_000_000  # in one JSON text; each may cost 150 bytes of memory
LARGEST_INTEGER: Final = 2**53

TYPES: Final = frozenset({"track", "page", "screen", "identify", "group", "alias"})
MISSING_IDS: Final = frozenset({"", "null", "undefined", "none", "guest", "anonymous", "0"})


class Reason(StrEnum):
    """Why an event was rejected: the closed set."""

    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    MISSING_FIELD = "missing_field"
    BAD_TYPE = "bad_type"
    BAD_ID = "bad_id"
    BAD_TIME = "bad_time"
    UNKNOWN_TYPE = "unknown_type"
    SCHEMA_VIOLATION = "schema_violation"
    ADAPTER_ERROR = "adapter_error"
    OVERSIZE_RECORD = "oversize_record"
    UNDECODABLE = "undecodable"


class Fate(StrEnum):
    """What becomes of an event: the closed set."""

    STORED = "stored"
    REJECTED = "rejected"
    DECLINED = "declined"
    REFUSED = "refused"


class Event(msgspec.Struct, omit_defaults=True):
    """One event as it stands on the log; times are UTC text with milliseconds, absent means unknown."""

    event_id: str
    source: str
    protocol: str
    ingest: Literal["live", "import"]
    type: str
    name: str
    occurred_at: str
    received_at: str
    properties: dict[str, Json]
    context: dict[str, Json]
    anonymous_id: str | None = None
    user_id: str | None = None
    id_kind: Literal["local", "session", "daily", "given"] | None = None
    session_hint: str | None = None
    page_view_id: str | None = None
    seq: int | None = None
    sent_at: str | None = None
    url: str | None = None
    referrer: str | None = None
    title: str | None = None
    traits: dict[str, Json] | None = None


class Rejection(msgspec.Struct, omit_defaults=True):
    """What could not become an event, with the first 64 KiB of its bytes (base64 on the log)."""

    reason: Reason
    detail: str
    bytes: Bytes
    received_at: str
    source: str | None = None
    protocol: str | None = None


class BrokenEvent(Exception):
    """This event, and only this one, is bad; the reason is from the closed set, the detail one sentence."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


_encoder = msgspec.json.Encoder()


def encode(line: Event | Rejection) -> bytes:
    """One line of NDJSON, without its newline."""
    return _encoder.encode(line)


def keep(data: bytes) -> bytes:
    """The part of rejected bytes that is kept."""
    return data[:KEPT_BYTES]


# --- JSON -------------------------------------------------------------------------------------------------

_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_DIGITS_ALIKE = bytes(ord("0") if chr(i).isascii() and chr(i).isdigit() else i for i in range(256))
_LONG_NUMBER = b"0" * 16
_NO_STRUCTURE = bytes(i for i in range(256) if i not in b'{}[]"')


def _mend_escape(match: re.Match[bytes]) -> bytes:
    escape = match.group()
    if len(escape) == 6 and escape[1:2] == b"u":
        code = int(escape[2:], 16)
        if code == 0 or 0xD800 <= code <= 0xDFFF:
            return b"\\ufffd"
    return escape


def decode_json(data: bytes) -> Json:
    """The value of a JSON text; NUL and lone surrogates become U+FFFD, a byte order mark is skipped.

    Of a doubled key the last value counts. Raises BrokenEvent: not_json, too_deep or too_large.
    """
    if len(data) > MANY_VALUES and data.count(b",") + data.count(b"{") + data.count(b"[") > MANY_VALUES:
        raise BrokenEvent(Reason.TOO_LARGE, f"more than {MANY_VALUES:,} values at once")
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    if b"\\" in data and (b"\\u0000" in data or b"\\ud" in data or b"\\uD" in data):
        data = _ESCAPE.sub(_mend_escape, data)
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise BrokenEvent(Reason.TOO_DEEP, f"nested deeper than {DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise BrokenEvent(Reason.NOT_JSON, f"not UTF-8: {error.reason}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise BrokenEvent(Reason.NOT_JSON, f"not JSON: {error}") from None


def is_plain(data: bytes) -> bool:
    """Whether JSON bytes certainly hold neither deep nesting nor integers of 16 digits and more.

    False means no more than that `tidy` has to look. It spares most events a walk in Python.
    """
    if _LONG_NUMBER in data.translate(_DIGITS_ALIKE):
        return False
    structure = data.translate(None, _NO_STRUCTURE)
    # Two levels are left for what moves into context.extra.
    if structure.count(b"{") + structure.count(b"[") <= DEPTH - 2:
        return True
    if b"\\" in data:
        return False
    # Without escapes the quotes stand in strict turn, so a bracket inside a string leaves its quotes behind.
    structure = structure.replace(b'""', b"")
    for _ in range(DEPTH - 2):
        if not structure:
            break
        structure = structure.replace(b"{}", b"").replace(b"[]", b"")
    return not structure


def tidy(value: Json, depth: int = DEPTH) -> Json:
    """The value with integers beyond 2^53 as text, and without NUL, lone surrogates, NaN and infinities.

    Raises BrokenEvent too_deep where objects and lists nest deeper than `depth`.
    """
    if isinstance(value, str):
        return tidy_text(value)
    if isinstance(value, dict):
        if depth == 0:
            raise BrokenEvent(Reason.TOO_DEEP, f"nested deeper than {DEPTH} levels")
        return {tidy_text(str(key)): tidy(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        if depth == 0:
            raise BrokenEvent(Reason.TOO_DEEP, f"nested deeper than {DEPTH} levels")
        return [tidy(inner, depth - 1) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            return value
        try:
            return str(value)
        except ValueError:  # Python refuses to print more than 4,300 digits
            raise BrokenEvent(Reason.BAD_TYPE, "a number has too many digits") from None
    if isinstance(value, float):
        return value if value - value == 0 else None
    raise BrokenEvent(Reason.BAD_TYPE, f"a value is {type(value).__name__}, which JSON does not know")


def tidy_text(text: str) -> str:
    """The text with NUL and lone surrogates as U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


# --- fields -----------------------------------------------------------------------------------------------


def read_id(value: Json, field: str) -> str | None:
    """An id of at most 200 characters; what stands for no id (empty, null, undefined, 0 …) is None."""
    if value is None:
        return None
    if type(value) is not str:
        raise BrokenEvent(Reason.BAD_TYPE, f"{field} must be text")
    if len(value) > ID_LENGTH:
        raise BrokenEvent(Reason.BAD_ID, f"{field} is longer than {ID_LENGTH} characters")
    if len(value) < 10 or value[0] == "0" or value[0] == " ":
        bare = value.strip().lower()
        if bare in MISSING_IDS or not bare.strip("0-"):
            return None
    return value


# The models make a row for every date from the first event to the last: one wild clock must not make a million.
YEARS = range(1900, 2200)


def read_time(value: Json, field: str) -> str | None:
    """An ISO 8601 time as UTC text with milliseconds; one without an offset is UTC.

    Raises BrokenEvent: bad_type if it is no text, bad_time if there is no such instant or none in `YEARS`.
    """
    if value is None:
        return None
    if type(value) is not str:
        raise BrokenEvent(Reason.BAD_TYPE, f"{field} must be an ISO 8601 text")
    try:
        instant = msgspec.convert(value, datetime)
        if instant.year not in YEARS:
            raise BrokenEvent(Reason.BAD_TIME, f"{field} is not between {YEARS[0]} and {YEARS[-1]}")
        if len(value) == 24 and value[23] == "Z" and value[10] == "T":
            return value
        return write_time(instant)
    except (msgspec.ValidationError, OverflowError):
        raise BrokenEvent(Reason.BAD_TIME, f"{field} is no time in ISO 8601") from None


def write_time(instant: datetime) -> str:
    """A time as the log writes it, for example 2026-11-22T10:00:00.123Z; naive means UTC."""
    naive = instant.replace(tzinfo=None)
    if offset := instant.utcoffset():
        naive -= offset
    return naive.isoformat(timespec="milliseconds") + "Z"


def read_object(value: Json, field: str) -> dict[str, Json]:
    """A JSON object; absent is the empty one."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise BrokenEvent(Reason.BAD_TYPE, f"{field} must be an object")
    return value


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def new_id(received_at: datetime) -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then chance."""
    if received_at.tzinfo is None:
        received_at = received_at.replace(tzinfo=UTC)
    milliseconds = max(0, (received_at - _EPOCH) // _MILLISECOND)
    chance = int.from_bytes(os.urandom(10), "big")
    number = (milliseconds & (1 << 48) - 1) << 80 | chance
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=number))
