"""What event.py promises: every field is checked by name, and whatever bytes come, one clean line goes on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.event import (
    BrokenEvent,
    Event,
    Reason,
    Rejection,
    decode_json,
    encode,
    is_plain,
    new_id,
    read_id,
    read_time,
)
from ingest.protocols.segment import read_event

NOW = datetime(2026, 11, 22, 10, 0, 0, 123000, tzinfo=UTC)


def read(item: bytes | dict[str, Any]) -> Event | Rejection:
    return read_event(item, source="web", received_at=NOW)


def track(**fields: Any) -> bytes:
    return json.dumps({"type": "track", "event": "A", "messageId": "m1", **fields}).encode()


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max((depth_of(v) for v in inner), default=0)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"nonsense", Reason.NOT_JSON),
        (track().replace(b'"A"', b"NaN"), Reason.NOT_JSON),
        (track().replace(b'"A"', b"-Infinity"), Reason.NOT_JSON),
        (track().replace(b'"A"', b"1e400"), Reason.NOT_JSON),
        (b'{"type":"track","event":"A","properties":{"n":1' + b"0" * 5000 + b"}}", Reason.NOT_JSON),
        (b'{"type":"track","event":"\xc0\xaf"}', Reason.NOT_JSON),
        (b'{"type":"track","event":"\xff"}', Reason.NOT_JSON),
        (track().decode().encode("utf-16"), Reason.NOT_JSON),
        (b"[1]", Reason.BAD_TYPE),
        (b'"text"', Reason.BAD_TYPE),
        (b"{}", Reason.MISSING_FIELD),
        (b'{"type":"track"}', Reason.MISSING_FIELD),
        (b'{"type":"track","event":""}', Reason.MISSING_FIELD),
        (b'{"type":"purchase","event":"A"}', Reason.UNKNOWN_TYPE),
        (b'{"type":5}', Reason.BAD_TYPE),
        (track(event=5), Reason.BAD_TYPE),
        (track(properties=[1]), Reason.BAD_TYPE),
        (track(traits="x"), Reason.BAD_TYPE),
        (track(context=7), Reason.BAD_TYPE),
        (track(userId=12), Reason.BAD_TYPE),
        (track(messageId=["a"]), Reason.BAD_TYPE),
        (track(context={"seq": "1"}), Reason.BAD_TYPE),
        (track(userId="u" * 201), Reason.BAD_ID),
        (track(messageId="m" * 10_000), Reason.BAD_ID),
        (track(timestamp="2026-02-30T10:00:00Z"), Reason.BAD_TIME),
        (track(timestamp="yesterday"), Reason.BAD_TIME),
        (track(timestamp="0001-01-01T00:00:00+10:00"), Reason.BAD_TIME),
        (track(timestamp="0001-01-01T00:00:00.000Z"), Reason.BAD_TIME),
        (track(timestamp="9999-12-31T23:59:59.000Z"), Reason.BAD_TIME),
        (track(sentAt="2026-13-01T00:00:00Z"), Reason.BAD_TIME),
        (track(timestamp=1763805600000), Reason.BAD_TYPE),
        (b'{"type":"track","event":"A","properties":' + b'{"a":' * 40 + b"1" + b"}" * 41, Reason.TOO_DEEP),
        (b'{"type":"track","event":"A","properties":{"a":' + b"[" * 100_000, Reason.TOO_DEEP),
    ],
)
def test_what_is_wrong_has_a_name(item: bytes, reason: Reason) -> None:
    got = read(item)
    assert isinstance(got, Rejection), got
    assert got.reason is reason
    assert got.bytes == item[: 64 * 1024]
    assert got.source == "web"
    assert got.detail


def test_the_line_has_the_names_of_the_canonical_event() -> None:
    item = track(anonymousId="a1", timestamp="2026-11-22T11:00:00+02:00", sentAt="2026-11-22T09:00:01Z")
    line = json.loads(encode(read(item)))
    assert line == {
        "event_id": "m1",
        "source": "web",
        "protocol": "segment",
        "ingest": "live",
        "type": "track",
        "name": "A",
        "anonymous_id": "a1",
        "id_kind": "given",
        "occurred_at": "2026-11-22T09:00:00.000Z",
        "sent_at": "2026-11-22T09:00:01.000Z",
        "received_at": "2026-11-22T10:00:00.123Z",
        "properties": {},
        "context": {},
    }


def test_a_rejection_keeps_its_bytes_in_base64() -> None:
    line = json.loads(encode(read(b"\xff")))
    assert line["bytes"] == "/w=="
    assert line["reason"] == "not_json"


def test_odd_but_lawful_json_becomes_a_clean_line() -> None:
    item = (
        b'\xef\xbb\xbf{"type":"track","event":"A","event":"B\\u0000","messageId":"m","__proto__":{"x":1},'
        b'"properties":{"half":"\\ud83d","whole":"\\ud83d\\ude00","text":"\\\\ud83d","big":9007199254740993,'
        b'"exact":9007199254740992,"k\\u0000":1,"float":0.1234567890123456789}}'
    )
    line = json.loads(encode(read(item)))
    assert line["name"] == "B\ufffd"
    assert line["properties"] == {
        "half": "\ufffd",
        "whole": "\U0001f600",
        "text": "\\ud83d",
        "big": "9007199254740993",
        "exact": 9007199254740992,
        "k\ufffd": 1,
        "float": 0.12345678901234568,
    }
    assert line["context"]["extra"] == {"__proto__": {"x": 1}}
    assert encode(read(item)) == encode(read(item))


@pytest.mark.parametrize("nothing", ["", "null", "Undefined", "NONE", "guest", "anonymous", "0", "00000", " ", None])
def test_what_stands_for_no_id_is_none(nothing: str | None) -> None:
    assert read_id(nothing, "userId") is None


def test_all_zeros_of_a_uuid_are_no_id_and_others_stay() -> None:
    assert read_id("00000000-0000-0000-0000-000000000000", "x") is None
    assert read_id("0001", "x") == "0001"
    assert read_id("u" * 200, "x") == "u" * 200


def test_without_an_id_an_event_gets_a_uuid7_of_its_receipt() -> None:
    event = read(b'{"type":"page","messageId":""}')
    assert isinstance(event, Event)
    assert event.event_id[14] == "7"
    assert int(event.event_id.replace("-", "")[:12], 16) == round(NOW.timestamp() * 1000)
    assert new_id(NOW) != new_id(NOW)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-11-22T10:00:00.123Z", "2026-11-22T10:00:00.123Z"),
        ("2026-11-22T10:00:00.123987Z", "2026-11-22T10:00:00.123Z"),
        ("2026-11-22T10:00:00+05:30", "2026-11-22T04:30:00.000Z"),
        ("2026-11-22T10:00:00", "2026-11-22T10:00:00.000Z"),
        ("1965-01-01T00:00:00.001Z", "1965-01-01T00:00:00.001Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(sent: str, kept: str) -> None:
    assert read_time(sent, "timestamp") == kept


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=25,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["track", "page", "identify", "group", "alias", "screen", "x"]) | json_values,
        "event": st.text() | json_values,
        "messageId": st.text(max_size=210) | json_values,
        "anonymousId": st.text() | json_values,
        "userId": st.sampled_from(["u", "null", ""]) | json_values,
        "timestamp": st.sampled_from(["2026-11-22T10:00:00Z", "9999-12-31T23:59:59-10:00"]) | json_values,
        "properties": st.dictionaries(st.text(), json_values, max_size=5) | json_values,
        "traits": json_values,
        "context": st.dictionaries(
            st.sampled_from(["page", "screen", "ip", "campaign", "seq", "sessionId", "autoTrack", "traits", "x"]),
            json_values,
        )
        | json_values,
        "name": json_values,
        "groupId": json_values,
    },
)
TEXTS = (
    "event_id",
    "source",
    "protocol",
    "type",
    "name",
    "anonymous_id",
    "user_id",
    "url",
    "reason",
    "bytes",
)
COLUMNS = dict.fromkeys(TEXTS, "VARCHAR") | {"occurred_at": "TIMESTAMP", "received_at": "TIMESTAMP"}
COLUMNS |= {"seq": "BIGINT", "properties": "JSON", "traits": "JSON", "context": "JSON"}


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.binary(max_size=60) | fields | fields.map(lambda f: json.dumps(f).encode()), max_size=6))
def test_whatever_comes_one_line_goes_on_that_others_can_read(
    items: list[bytes | dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [encode(read(item)) for item in items]
    for line in lines:
        assert b"\n" not in line
        assert b"\\u0000" not in line
        value = msgspec.json.decode(line)
        assert depth_of(value) <= 32
        kind: Any = Rejection if "reason" in value else Event
        assert encode(msgspec.json.decode(line, type=kind)) == line
    path: Path = tmp_path_factory.getbasetemp() / "lines.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    if lines:
        rows = duckdb.sql(f"select * from read_json('{path}', format = 'newline_delimited', columns = {COLUMNS})")
        got = [(row[1], row[8] is None) for row in rows.fetchall()]
        assert got == [("web", b'"reason":' not in line[:12]) for line in lines]


@settings(max_examples=300, deadline=None)
@given(json_values, st.booleans())
def test_bytes_called_plain_are_neither_deep_nor_large_in_their_integers(value: Any, ascii_only: bool) -> None:
    for _ in range(3):
        value = {"a": [value, "}", '"']}
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    if is_plain(data):
        assert depth_of(value) <= 32
        assert all(abs(n) <= 2**53 for n in integers(value))


def integers(value: Any) -> list[int]:
    if isinstance(value, dict | list):
        return [n for inner in (value.values() if isinstance(value, dict) else value) for n in integers(inner)]
    return [value] if isinstance(value, int) else []


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 40 + "1" + "}" * 40,
        '{"}":' * 40 + '1,"{":1' + '},"{":1' * 0 + "}" * 40,
        "".join('{"}":' for _ in range(40)) + '"{"' + "".join("}" for _ in range(40)),
        '["]",' * 40 + "1" + ',"["]' * 40,
        '["]\\"",' * 40 + "1" + ',"\\"["]' * 40,
    ],
)
def test_brackets_in_texts_do_not_hide_depth(text: str) -> None:
    assert depth_of(json.loads(text)) >= 40
    assert not is_plain(text.encode())


def test_deep_json_in_pieces_is_too_deep() -> None:
    with pytest.raises(BrokenEvent) as caught:
        decode_json(b"[" * 100_000)
    assert caught.value.reason is Reason.TOO_DEEP
