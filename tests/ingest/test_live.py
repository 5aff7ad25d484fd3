"""Following the log promises: each event once, as it comes, with its fate; nothing of it moves the terminal."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.event import Event, Fate, Reason, Rejection, encode
from ingest.live import Follower, Seen, Turned, read_line, turned
from ingest.log import Writer

AT = datetime(2026, 11, 22, 10, 0, 0, 123000, tzinfo=UTC)
RECEIVED = "2026-11-22T10:00:00.123Z"


def event(number: int, name: str = "page", url: str = "https://shop.example/p?q=1", source: str = "web") -> bytes:
    return encode(
        Event(
            event_id=f"e{number}",
            source=source,
            protocol="segment",
            ingest="live",
            type="page",
            name=name,
            occurred_at=RECEIVED,
            received_at=RECEIVED,
            properties={"reason": "a property is no reason"},
            context={},
            anonymous_id=f"{number:08d}-0000",
            url=url,
        )
    )


def reject(detail: str = "timestamp is no time") -> bytes:
    return encode(Rejection(Reason.BAD_TIME, detail, b"\x00\xff", RECEIVED, "web", "segment"))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path, segment_bytes=1 << 20, clock=lambda: AT)
    yield writer
    writer.close()


def test_each_comes_once_and_in_order(tmp_path: Path, writer: Writer) -> None:
    writer.append([event(1)], AT, AT)
    follower = Follower(tmp_path)
    assert list(follower.new()) == []
    writer.append([event(2), reject()], AT, AT)
    writer.append([event(3)], AT, AT)
    assert [(seen.fate, seen.anonymous_id) for seen in follower.new()] == [
        (Fate.STORED, "00000002-0000"),
        (Fate.REJECTED, ""),
        (Fate.STORED, "00000003-0000"),
    ]
    assert list(follower.new()) == []


def test_a_new_segment_is_read_from_its_beginning(tmp_path: Path, writer: Writer) -> None:
    follower = Follower(tmp_path)
    writer.append([event(1)], AT, AT)
    other = Writer(tmp_path, clock=lambda: AT)
    other.append([event(2)], AT, AT)
    assert {seen.anonymous_id[:8] for seen in follower.new()} == {"00000001", "00000002"}
    other.close()
    assert list(follower.new()) == []


def test_reading_leaves_the_log_as_it_is(tmp_path: Path) -> None:
    writer = Writer(tmp_path, clock=lambda: AT)
    writer.append([event(1)], AT, AT)
    writer.close()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.db")}
    assert len(Follower(tmp_path).past(5)) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.db")} == before


def test_the_last_ones_are_found_far_behind_others(tmp_path: Path, writer: Writer) -> None:
    for number in range(3):
        writer.append([event(number, source="shop"), reject()], AT, AT)
    for number in range(600):
        writer.append([event(100 + number)], AT, AT)
    follower = Follower(tmp_path)
    writer.append([event(9999)], AT, AT)
    assert [seen.anonymous_id[:8] for seen in follower.past(2)] == ["00000698", "00000699"]
    assert [seen.anonymous_id[:8] for seen in follower.past(2, lambda seen: seen.source == "shop")] == [
        "00000001",
        "00000002",
    ]
    assert len(follower.past(10, lambda seen: bool(seen.why))) == 3
    assert [seen.anonymous_id[:8] for seen in follower.new()] == ["00009999"]


def test_damage_is_passed_over(tmp_path: Path, writer: Writer) -> None:
    writer.append([event(1)], AT, AT)
    follower = Follower(tmp_path)
    (tmp_path / "0123abcd-1.db").write_bytes(b"not a database" * 100)
    writer.append([event(2)], AT, AT)
    assert [seen.anonymous_id[:8] for seen in follower.new()] == ["00000002"]


def test_a_line_says_when_what_where_and_who() -> None:
    seen = read_line(event(12345678901, "Element Clicked"))
    assert seen is not None
    assert seen.text(UTC).split() == ["10:00:00.123", "stored", "web", "Element", "Clicked", "/p", "12345678…"]


def test_a_reject_says_why() -> None:
    seen = read_line(reject())
    assert seen is not None
    assert seen.text(UTC).startswith("10:00:00.123 rejected web ")
    assert seen.text(UTC).endswith(" bad_time: timestamp is no time")


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;owned\x07", "a\nb\r", "\u202eevil", "\x9b31m"])
def test_nothing_of_an_event_moves_the_terminal(text: str) -> None:
    for line in (event(1, name=text, url=f"https://shop.example/{text}"), reject(text)):
        seen = read_line(line)
        assert seen is not None
        assert seen.text(UTC).isprintable()


def test_long_names_are_cut() -> None:
    seen = Seen(AT, Fate.STORED, "s" * 100, "n" * 500, "/" + "p" * 5000, "a" * 200, "")
    assert len(seen.text(UTC)) < 140


@pytest.mark.parametrize("line", [b"", b"{}", b"null", b'{"reason":', b'{"reason":"no such"}', b'{"event_id":1}'])
def test_what_is_no_line_of_the_log_is_none(line: bytes) -> None:
    assert read_line(line) is None


def test_a_reject_needs_no_bytes_to_be_shown() -> None:
    line = b'{"reason":"not_json","detail":"no","bytes":"%s","received_at":"%s"}'
    seen = read_line(line % (base64.b64encode(b"x" * 1000), RECEIVED.encode()))
    assert seen is not None
    assert (seen.source, seen.why) == ("-", "not_json: no")


def metrics(**counts: int) -> str:
    lines = [
        f'footfall_events_total{{fate="{fate}",source="web",protocol="{protocol}",reason="{reason}"}} {n}'
        for key, n in counts.items()
        for fate, protocol, reason in (key.split("__"),)
    ]
    return "# TYPE footfall_events_total counter\n" + "\n".join(lines) + "\nfootfall_log_bytes 4096\n"


def test_what_was_not_kept_is_told_by_its_counts() -> None:
    before = metrics(stored__segment__=5, declined__segment__consent=2)
    now = metrics(stored__segment__=9, declined__segment__consent=3, refused__segment__busy=4, refused__umami__busy=1)
    assert turned(before, now) == [
        Turned(Fate.DECLINED, "web", "consent", 1),
        Turned(Fate.REFUSED, "web", "busy", 5),
    ]
    assert turned(now, now) == []
    # It has started anew.
    assert turned(now, before) == [Turned(Fate.DECLINED, "web", "consent", 2)]
    assert turned(now, before)[0].text(AT, UTC) == "10:00:00     declined web      2 x consent"
