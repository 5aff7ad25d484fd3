"""The Segment spec as its clients send it: routes, keys, mapping, answers."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.event import Event, Reason, Rejection, encode
from ingest.protocols import find_route
from ingest.protocols.request import Outcome, Request, Source, Sources
from ingest.protocols.segment import read_event

NOW = datetime(2026, 11, 22, 10, 0, 0, 123000, tzinfo=UTC)
WEB = Source("web", "pk_demo", aliases=("shop.example",), secret_key="sk_demo", origins=("https://shop.example",))
MAIL = "ann@example.com"


def send(
    target: str,
    body: Any = b"",
    *,
    source: Source = WEB,
    method: str = "POST",
    key: str | None = "pk_demo",
    **headers: str,
) -> Outcome:
    url = urlsplit(target)
    named = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        named.setdefault("x-write-key", key)
    route = find_route(url.path)
    assert route is not None
    assert method in route.methods
    request = Request(
        method=method,
        path=url.path,
        query=dict(parse_qsl(url.query)),
        headers=named,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        received_at=NOW,
        ip="203.0.113.77",
        salt=b"salt",
        sources=Sources([source]),
    )
    return route.handle(request)


def the_event(outcome: Outcome) -> Event:
    assert outcome.answer.status == 200, outcome
    assert not outcome.rejections, outcome.rejections
    [event] = outcome.events
    return event


def answer(outcome: Outcome) -> Any:
    return json.loads(outcome.answer.body)


PAGE = {
    "type": "page",
    "messageId": "m1",
    "anonymousId": "a1",
    "properties": {"url": "https://shop.example/"},
}
ITEM = {"type": "track", "event": "Product Viewed", "messageId": "m1", "anonymousId": "a1"}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("type_", ["track", "page", "screen", "identify", "group", "alias"])
@pytest.mark.parametrize("path", ["/v1/{0:.1}", "/v1/{0}", "/api/s/{0}", "/api/s/s2s/{0}"])
def test_each_path_takes_one_event_and_gives_it_its_type(path: str, type_: str, slash: str) -> None:
    outcome = send(path.format(type_) + slash, {"event": "E", "messageId": "m1"})
    assert the_event(outcome).type == type_
    assert answer(outcome) == {"success": True}


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch?writeKey=pk_demo"])
def test_a_batch_shares_its_send_time_and_its_context(path: str) -> None:
    body = {
        "batch": [ITEM, {**PAGE, "context": {"locale": "nl"}, "sentAt": "2026-11-22T09:00:00Z"}],
        "sentAt": "2026-11-22T09:59:59Z",
        "context": {"locale": "de", "library": {"name": "x"}},
    }
    outcome = send(path, body, key=None if "?" in path else "pk_demo")
    assert [e.sent_at for e in outcome.events] == ["2026-11-22T09:59:59.000Z", "2026-11-22T09:00:00.000Z"]
    assert [e.context["locale"] for e in outcome.events] == ["de", "nl"]
    assert outcome.events[1].context["library"] == {"name": "x"}


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


@pytest.mark.parametrize(
    ("target", "headers", "body_key"),
    [
        ("/v1/t", {"authorization": basic("pk_demo")}, None),
        ("/v1/t", {"x_write_key": "pk_demo"}, None),
        ("/v1/t", {"x_write_key": "pk_demo:secret"}, None),
        ("/v1/t?writeKey=pk_demo", {}, None),
        ("/v1/t", {}, "pk_demo"),
        ("/v1/t", {}, "shop.example"),
        ("/v1/t", {"authorization": basic("pk_demo"), "x_write_key": "other"}, "other"),
        ("/v1/t", {"x_write_key": "sk_demo"}, None),
    ],
)
def test_the_key_is_taken_where_a_client_carries_it(target: str, headers: dict[str, str], body_key: str | None) -> None:
    body = {**ITEM, "writeKey": body_key} if body_key else ITEM
    event = the_event(send(target, body, key=None, **headers))
    assert event.source == "web"
    assert "writeKey" not in event.context.get("extra", {})


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x_write_key": "wrong"}, ITEM),
        ({"authorization": "Bearer pk_demo"}, {**ITEM, "writeKey": "pk_demo"}),
        ({"authorization": "Basic !!!"}, ITEM),
        ({}, ITEM),
        ({}, {**ITEM, "writeKey": 7}),
        ({"x_write_key": "sk_demo", "origin": "https://shop.example"}, ITEM),
    ],
)
def test_an_unknown_key_is_declined_with_code_and_message(headers: dict[str, str], body: Any) -> None:
    outcome = send("/v1/t", body, key=None, **headers)
    assert outcome.answer.status == 401
    assert set(answer(outcome)) == {"code", "message"}
    assert outcome.declined == {"unknown_key": 1}
    assert not outcome.events
    assert not outcome.rejections


def test_a_batch_with_an_unknown_key_in_its_body_counts_its_events() -> None:
    outcome = send("/v1/batch", {"batch": [ITEM, ITEM], "writeKey": "no"}, key=None)
    assert outcome.declined == {"unknown_key": 2}


def test_a_page_of_another_origin_may_not_use_the_key() -> None:
    for origin in (
        "https://evil.example",
        "null",
        "https://shop.example.evil.example",
        "http://shop.example",
    ):
        outcome = send("/v1/t", ITEM, origin=origin)
        assert (outcome.answer.status, outcome.refused) == (403, "origin_not_allowed")
        assert not outcome.events
    assert the_event(send("/v1/t", ITEM, origin="https://shop.example"))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff\xfe{\x00", b'{"batch":1}', b"{}", b'{"batch":[1'])
def test_a_request_that_cannot_be_read_is_refused_with_a_reason(body: bytes) -> None:
    outcome = send("/v1/batch", body)
    assert outcome.answer.status == 400
    assert answer(outcome)["code"] == outcome.refused
    assert outcome.refused in {"not_json", "bad_type", "missing_field"}
    assert not outcome.events
    assert not outcome.rejections


@pytest.mark.parametrize("target", ["/beacon/v1/batch?writeKey=pk_demo", "/v1/batch?writeKey=pk_demo&beacon=1"])
def test_a_beacon_that_cannot_be_read_is_kept_as_a_rejection(target: str) -> None:
    outcome = send(target, b"{torn", key=None)
    assert outcome.answer.status == 200
    [rejection] = outcome.rejections
    assert (rejection.reason, rejection.bytes) == (Reason.NOT_JSON, b"{torn")


def test_one_bad_event_leaves_its_neighbours_and_is_named_in_the_answer() -> None:
    outcome = send("/v1/batch", {"batch": [ITEM, {**ITEM, "timestamp": "soon"}, 7, {**ITEM, "messageId": "m2"}]})
    assert [e.event_id for e in outcome.events] == ["m1", "m2"]
    assert [r.reason for r in outcome.rejections] == ["bad_time", "bad_type"]
    assert outcome.answer.status == 200
    assert [(r["index"], r["reason"]) for r in answer(outcome)["rejected"]] == [
        (1, "bad_time"),
        (2, "bad_type"),
    ]


def test_an_event_that_is_no_json_by_itself_leaves_its_neighbours() -> None:
    good = json.dumps(ITEM).encode()
    outcome = send("/v1/batch", b'{"batch":[' + good + b',{"type":"track","event":1e999},' + good + b"]}")
    assert len(outcome.events) == 2
    assert [r.reason for r in outcome.rejections] == ["not_json"]


def test_an_event_over_its_limit_is_too_large_and_kept_in_part() -> None:
    outcome = send("/v1/batch", {"batch": [{**ITEM, "properties": {"x": "y" * 300_000}}, ITEM]})
    assert len(outcome.events) == 1
    [rejection] = outcome.rejections
    assert rejection.reason is Reason.TOO_LARGE
    assert len(rejection.bytes) == 64 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b'{"batch":[' + b"{}," * 10_000 + b"{}]}",
        b'{"batch":[' + b"1," * 2_000_000 + b"1]}",
        b'{"batch":[' + b'{"a":[]},' * 500_000 + b"{}]}",
    ],
)
def test_a_request_of_very_many_small_things_is_refused_whole(body: bytes) -> None:
    outcome = send("/v1/batch", body)
    assert (outcome.answer.status, outcome.refused) == (400, "too_large")
    assert not outcome.rejections


def test_a_single_event_over_its_limit_is_rejected_in_part_too() -> None:
    outcome = send("/v1/track", b'{"event":"A","properties":{"x":"' + b"y" * 300_000)
    assert [r.reason for r in outcome.rejections] == [Reason.TOO_LARGE]
    assert answer(outcome)["rejected"][0]["reason"] == "too_large"


def test_a_compressed_body_is_known_by_its_bytes() -> None:
    plain = json.dumps(ITEM).encode()
    assert the_event(send("/v1/t", gzip.compress(plain), content_type="text/plain"))
    assert the_event(send("/v1/t", gzip.compress(plain), content_encoding="gzip"))
    assert the_event(send("/v1/t", zlib.compress(plain), content_encoding="deflate"))
    assert the_event(send("/v1/t", plain, content_encoding="gzip"))


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (gzip.compress(b" " * 30_000_000), "gzip", "too_large"),
        (gzip.compress(b"[" * 5_000_000), "", "too_large"),
        (gzip.compress(gzip.compress(b"{}")), "gzip", "not_json"),
        (gzip.compress(b"{}" * 50)[:-4], "gzip", "not_json"),
        (gzip.compress(b"{}") + b"more", "gzip", "not_json"),
        (b"\x1f\x8b garbage", "", "not_json"),
        (b"\x28\xb5\x2f\xfd", "zstd", "not_json"),
        (b"x", "br", "not_json"),
    ],
    # Not the bytes: they hold the time, and every process must name the tests alike.
    ids=["spaces", "brackets", "twice", "cut short", "more behind", "gzip in name only", "cut zstd", "brotli"],
)
def test_bombs_and_damaged_streams_are_refused(body: bytes, encoding: str, reason: str) -> None:
    outcome = send("/v1/t", body, content_encoding=encoding)
    assert (outcome.answer.status, outcome.refused) == (400, reason)


def test_fields_find_their_places_and_nothing_is_lost() -> None:
    event = the_event(
        send(
            "/v1/track",
            {
                "event": "Product Added",
                "messageId": "m1",
                "anonymousId": "a1",
                "userId": "u1",
                "timestamp": "2026-11-22T09:00:00.500Z",
                "originalTimestamp": "2026-11-22T08:00:00.500Z",
                "channel": "web",
                "integrations": {"All": True},
                "properties": {"sku": "x", "price": 1.5},
                "context": {
                    "userAgent": "Mozilla/5.0",
                    "locale": "nl-NL",
                    "timezone": "Europe/Amsterdam",
                    "screen": {"width": 1920, "height": 1080, "innerWidth": 900.4, "density": 2},
                    "campaign": {"source": "s", "name": "n", "id": "7"},
                    "library": {"name": "RudderLabs", "version": "3"},
                    "sessionId": 1763805600000,
                    "sessionStart": True,
                    "ip": "198.51.100.9",
                    "traits": {"plan": "pro"},
                    "os": {"name": "mac"},
                    "autoTrack": {"page": {"pageViewId": "pv1"}},
                    "consentManagement": {"allowedConsentIds": ["a"]},
                    "page": {"url": "https://shop.example/a?utm_source=z", "title": "T", "path": "/a"},
                },
            },
            user_agent="header agent",
            sec_ch_ua_platform='"macOS"',
            anonymousid="hdr",
        )
    )
    assert (event.name, event.event_id, event.anonymous_id, event.user_id) == (
        "Product Added",
        "m1",
        "a1",
        "u1",
    )
    assert event.occurred_at == "2026-11-22T09:00:00.500Z"
    assert (event.session_hint, event.page_view_id, event.title) == ("1763805600000", "pv1", "T")
    assert event.url == "https://shop.example/a?utm_source=z"
    assert event.properties == {"sku": "x", "price": 1.5}
    assert event.context == {
        "ua": "Mozilla/5.0",
        "ua_hints": {"platform": '"macOS"'},
        "locale": "nl-NL",
        "timezone": "Europe/Amsterdam",
        "screen_w": 1920,
        "screen_h": 1080,
        "viewport_w": 900,
        "campaign": {"source": "s", "name": "n"},
        "library": {"name": "RudderLabs", "version": "3"},
        "consent": {"allowedConsentIds": ["a"]},
        "ip_prefix": "198.51.100.0/24",
        "extra": {
            "originalTimestamp": "2026-11-22T08:00:00.500Z",
            "channel": "web",
            "integrations": {"All": True},
            "screen": {"density": 2},
            "campaign": {"id": "7"},
            "sessionStart": True,
            "traits": {"plan": "pro"},
            "os": {"name": "mac"},
            "page": {"path": "/a"},
            "AnonymousId": "hdr",
        },
    }


def test_a_page_call_gives_its_address_and_names_itself_page() -> None:
    properties = {
        "url": "https://shop.example/p?utm_campaign=c&gclid=g1",
        "referrer": "",
        "title": "P",
        "path": "/p",
    }
    event = the_event(send("/v1/p", {"messageId": "m", "name": "Home", "category": "c", "properties": properties}))
    assert (event.type, event.name, event.title, event.referrer) == ("page", "page", "P", None)
    assert event.url == "https://shop.example/p?utm_campaign=c&gclid=g1"
    assert event.properties == {"name": "Home", "category": "c"}
    assert event.context["campaign"] == {"name": "c"}
    assert event.context["click_id"] == {"name": "gclid", "value": "g1"}
    assert event.context["extra"] == {"page": {"path": "/p"}}
    assert event.context["time_source"] == "received"
    assert event.occurred_at == event.received_at


def test_traits_of_identify_may_stand_in_the_context() -> None:
    event = the_event(send("/v1/i", {"messageId": "m", "userId": "u", "context": {"traits": {"plan": "pro"}}}))
    assert event.traits == {"plan": "pro"}
    assert "extra" not in event.context


def test_group_and_alias_keep_the_other_id_in_properties() -> None:
    assert the_event(send("/v1/g", {"groupId": "g"})).properties == {"group_id": "g"}
    assert the_event(send("/v1/a", {"previousId": "p", "userId": "u"})).properties == {"previous_id": "p"}


def test_the_unload_beacon_of_rudderstack_is_a_scroll_reached() -> None:
    event = the_event(send("/v1/t", {"event": "Page Unloaded", "properties": {"visitDuration": 1200}}))
    assert event.name == "Scroll Reached"
    assert event.properties == {"page_leave": True, "dwell_ms": 1200}


def test_our_tracker_names_its_own_fields() -> None:
    context = {"session_hint": "s", "page_view_id": "pv", "seq": 3, "library": {"name": "footfall"}}
    event = the_event(send("/v1/t", {**ITEM, "context": context}))
    assert (event.session_hint, event.page_view_id, event.seq, event.id_kind) == ("s", "pv", 3, "local")
    assert the_event(send("/v1/t", ITEM)).id_kind == "given"


def test_our_tracker_says_how_large_the_document_is_and_what_the_visitor_chose() -> None:
    sent = {"library": {"name": "footfall.js"}, "document_w": 800, "document_h": 3000, "consent": {"choice": "grant"}}
    event = the_event(send("/v1/t", {**ITEM, "context": sent}))
    assert (event.context["document_w"], event.context["document_h"]) == (800, 3000)
    assert event.context["consent"] == {"choice": "grant"}
    assert event.id_kind == "local"
    assert "extra" not in event.context
    odd = the_event(send("/v1/t", {**ITEM, "context": {"document_w": -1, "document_h": "x"}}))
    assert odd.context["extra"] == {"document_w": -1, "document_h": "x"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batch", "context", "sentAt", "type", "event", "page", "url", "x"]), inner)
    ),
    max_leaves=20,
)
envelopes = st.fixed_dictionaries(
    {"batch": st.lists(anything, max_size=4)},
    optional={"context": anything, "sentAt": anything, "writeKey": anything},
)


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=80) | (anything | envelopes).map(lambda v: json.dumps(v).encode()),
    path=st.sampled_from(["/v1/t", "/v1/batch", "/beacon/v1/batch"]),
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]),
    is_gzipped=st.booleans(),
)
def test_whatever_is_sent_each_event_has_one_fate(body: bytes, path: str, encoding: str, is_gzipped: bool) -> None:
    outcome = send(path, gzip.compress(body) if is_gzipped else body, content_encoding=encoding)
    assert outcome.answer.status in (200, 400)
    assert (outcome.answer.status == 400) == (outcome.refused is not None)
    assert not [r for r in outcome.rejections if r.reason is Reason.ADAPTER_ERROR]
    if outcome.refused:
        assert not outcome.events
        assert not outcome.rejections
    elif path == "/v1/batch":
        named = answer(outcome).get("rejected", [])
        assert len(named) == len(outcome.rejections)
    for line in (*outcome.events, *outcome.rejections):
        assert json.loads(encode(line))["source"] == "web"


# --- privacy ----------------------------------------------------------------------------------------------


def test_the_address_is_cut_and_nowhere_whole() -> None:
    event = the_event(send("/v1/t", ITEM))
    assert event.context["ip_prefix"] == "203.0.113.0/24"
    assert "203.0.113.77" not in repr(event)


def test_pii_is_dropped_from_addresses_and_counted() -> None:
    url = "https://u:p@shop.example/a?x=1&email=x&q=ann%40example.com&accessToken=t&tel=%2B31612345678&y=2#token=1"
    event = the_event(send("/v1/p", {"properties": {"url": url, "search": f"?q={MAIL}"}}))
    assert event.url == "https://shop.example/a?x=1&y=2"
    assert event.context["extra"]["pii_dropped_n"] == 7
    assert MAIL not in repr(event)


SIGNED = {
    **ITEM,
    "userId": "u1",
    "context": {
        "page": {"url": "https://shop.example/?gclid=secretclick&a=1"},
        "sessionId": 5,
        "traits": {"name": "Ann"},
        "clientIds": {"ga": "devid"},
    },
}


@pytest.mark.parametrize("signal", [{"sec_gpc": "1"}, {"dnt": "1"}])
def test_privacy_signals_take_the_ids_away_by_default(signal: dict[str, str]) -> None:
    event = the_event(send("/v1/t", SIGNED, **signal))
    assert (event.anonymous_id, event.user_id, event.id_kind, event.session_hint) == (None, None, None, None)
    assert event.url == "https://shop.example/?a=1"
    assert "click_id" not in event.context
    assert event.context["consent"]["policy"] == "anonymise"
    for secret in ("secretclick", "u1", "Ann", "devid"):
        assert secret not in repr(event)


def test_consent_decline_keeps_nothing_and_answers_success() -> None:
    outcome = send("/v1/batch", {"batch": [ITEM, ITEM]}, source=Source("w", "pk_demo", consent="decline"), sec_gpc="1")
    assert answer(outcome) == {"success": True}
    assert outcome.declined == {"consent": 2}
    assert not outcome.events


def test_consent_ignore_keeps_the_ids() -> None:
    event = the_event(send("/v1/t", SIGNED, source=Source("w", "pk_demo", consent="ignore"), sec_gpc="1"))
    assert event.user_id == "u1"


def test_without_storage_the_id_is_the_hash_of_the_day() -> None:
    source = Source("w", "pk_demo", id_storage="none")
    one = the_event(send("/v1/t", ITEM, source=source, user_agent="A"))
    same = the_event(send("/v1/t", {**ITEM, "messageId": "m9"}, source=source, user_agent="A"))
    other = the_event(send("/v1/t", ITEM, source=source, user_agent="B"))
    assert one.id_kind == "daily"
    assert one.anonymous_id == same.anonymous_id != other.anonymous_id
    gpc = the_event(send("/v1/t", ITEM, source=source, user_agent="A", sec_gpc="1"))
    assert gpc.anonymous_id is None


# --- stubs and the picture --------------------------------------------------------------------------------


def test_the_pixel_answers_a_picture_and_keeps_the_event() -> None:
    outcome = send(
        "/pixel/v1/track?writeKey=pk_demo&event=Opened&anonymousId=a&properties=%7B%22a%22%3A1%7D",
        method="GET",
        key=None,
    )
    assert outcome.answer.content_type == "image/gif"
    assert outcome.answer.body.startswith(b"GIF89a")
    [event] = outcome.events
    assert (event.name, event.anonymous_id, event.properties) == ("Opened", "a", {"a": 1})


def test_stubs_are_what_the_scripts_test_for() -> None:
    stub = answer(send("/v1/projects/pk_demo/settings", method="GET", host="t.example"))
    assert stub["integrations"]["Segment.io"] == {
        "apiKey": "pk_demo",
        "apiHost": "t.example/v1",
        "protocol": "https",
    }
    assert stub["metrics"] == {"sampleRate": 0}
    config = answer(send("/sourceConfig/?writeKey=pk_demo", method="GET"))["source"]
    assert (config["id"], config["config"], config["destinations"]) == ("pk_demo", {}, [])
    for path in ("/v1/m", "/rsaMetrics"):
        outcome = send(path, b"whatever")
        assert outcome.answer.status == 200
        assert not outcome.events


def test_nothing_else_is_mounted() -> None:
    for path in ("/", "/v1", "/v1/x", "/track", "/v1/projects/settings", "/v1/projects/a/b/settings"):
        assert find_route(path) is None


def test_a_fault_of_ours_keeps_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ingest.protocols.segment_event._put_page", fail)
    got = read_event(json.dumps(ITEM).encode(), source="web", received_at=NOW)
    assert isinstance(got, Rejection)
    assert got.reason is Reason.ADAPTER_ERROR
    assert json.loads(got.bytes) == ITEM
