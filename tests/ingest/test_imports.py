"""Files of history reach the log whole: every line is stored, rejected or declined, and counted."""

from __future__ import annotations

import base64
import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.imports import Imported, ImportRefused, import_access_log, import_jsonl
from ingest.log import Writer, segments

KEY = b"k" * 32
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"
ENDINGS = set("png css ico jpg js txt gif ttf pdf xml xsl jar svg exe jpeg deb swf gz doc woff".split())
HIT = f'203.0.113.7 - - [17/May/2015:10:05:03 +0200] "GET /a?x=1 HTTP/1.1" 200 512 "-" "{AGENT}"'


def clock() -> datetime:
    return NOW


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "log", clock=clock)
    yield made
    made.close()


@pytest.fixture
def logged(tmp_path: Path, writer: Writer) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        writer.close()
        found = segments(tmp_path / "log")
        return [json.loads(line) for each in found for chunk in each.chunks(0) for line in chunk.lines]

    return read


def jsonl(path: Path, writer: Writer, *lines: object) -> Imported:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return import_jsonl(path, writer, source="web", clock=clock)


def access(path: Path, writer: Writer, *lines: str, host: str | None = None, key: bytes = b"k" * 32) -> Imported:
    path.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return import_access_log(path, writer, source="web", key=key, host=host, clock=clock)


def track(**more: object) -> dict[str, object]:
    return {"type": "track", "event": "Seen", "anonymousId": "d1", "timestamp": "2020-01-01T00:00:00Z"} | more


def test_an_imported_event_is_trusted_in_its_time(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    done = jsonl(tmp_path / "a.jsonl", writer, track(messageId="m1", properties={"n": 1}))
    assert (done.lines_n, done.stored_n, done.rejected_n, done.declined_n) == (1, 1, 0, 0)
    (event,) = logged()
    assert event["event_id"] == "m1"
    assert (event["ingest"], event["protocol"], event["source"]) == ("import", "jsonl", "web")
    assert event["occurred_at"] == "2020-01-01T00:00:00.000Z"
    assert event["received_at"] == "2026-11-22T10:00:00.000Z"
    assert event["properties"] == {"n": 1}


def test_the_same_file_gives_the_same_ids_and_another_gives_others(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    jsonl(tmp_path / "a.jsonl", writer, track(), track(messageId=""), track(messageId="null"))
    jsonl(tmp_path / "renamed.jsonl", writer, track(), track(messageId=""), track(messageId="null"))
    with gzip.open(tmp_path / "packed.gz", "wb") as file:
        file.write((tmp_path / "a.jsonl").read_bytes())
    import_jsonl(tmp_path / "packed.gz", writer, source="web", clock=clock)
    jsonl(tmp_path / "other.jsonl", writer, track(), track())
    ids = [event["event_id"] for event in logged()]
    assert len(set(ids[:3])) == 3
    assert ids[:3] == ids[3:6] == ids[6:9]
    assert not set(ids[:3]) & set(ids[9:])
    assert all(each[14] == "5" for each in ids)  # UUIDs of version 5


def test_a_bad_line_is_rejected_with_its_number_and_its_bytes(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    done = jsonl(
        tmp_path / "a.jsonl",
        writer,
        track(),
        "not json",
        "",
        {"type": "track"},
        track(timestamp="yesterday"),
        "[1]",
        track(messageId="x" * 201),
    )
    assert (done.lines_n, done.stored_n, done.rejected_n) == (7, 1, 5)
    assert done.declined == {"empty": 1}
    rejected = [line for line in logged() if "reason" in line]
    assert [line["reason"] for line in rejected] == [
        "not_json",
        "missing_field",
        "bad_time",
        "bad_type",
        "bad_id",
    ]
    assert rejected[0]["detail"].startswith("line 2: ")
    assert base64.b64decode(rejected[0]["bytes"]) == b"not json"
    assert {line["source"] for line in rejected} == {"web"}


def test_a_line_longer_than_an_event_may_be_is_rejected_and_the_next_one_counts(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    done = jsonl(tmp_path / "a.jsonl", writer, track(title="x" * 900_000), track())
    assert (done.lines_n, done.stored_n, done.rejected_n) == (2, 1, 1)
    first, second = logged()
    assert first["reason"] == "too_large"
    assert len(base64.b64decode(first["bytes"])) == 64 * 1024
    assert second["event_id"]


def test_a_last_line_without_its_end_counts(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(track()) + "\r\n" + json.dumps(track()))
    told: list[tuple[int, int]] = []
    done = import_jsonl(path, writer, source="web", clock=clock, progress=lambda *step: told.append(step))
    assert done.stored_n == 2
    assert told[-1] == (2, 2)


def test_long_files_come_in_chunks(tmp_path: Path, writer: Writer) -> None:
    done = jsonl(tmp_path / "a.jsonl", writer, *([track()] * 12_001))
    assert done.stored_n == 12_001
    writer.close()
    chunks = [chunk.event_n for each in segments(tmp_path / "log") for chunk in each.chunks(0)]
    assert chunks == [5000, 5000, 2001]


def test_a_file_of_another_kind_is_refused_before_anything_is_stored(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    with pytest.raises(ImportRefused, match="300 of its first 300 lines are bad"):
        jsonl(tmp_path / "a.csv", writer, *["1,2,3"] * 300)
    assert logged() == []


def test_files_that_cannot_be_read_are_a_sentence(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "empty").touch()
    whole = gzip.compress(b"x" * 100_000 + b"\n")
    (tmp_path / "torn.gz").write_bytes(whole[:-20])
    for name, sentence in {
        "absent": "There is no file",
        "": "is a folder",
        "empty": "is empty",
        "torn.gz": "is a damaged gzip file",
    }.items():
        with pytest.raises(ImportRefused, match=sentence):
            import_jsonl(tmp_path / name, writer, source="web", clock=clock)


def test_a_page_view_of_an_access_log(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    line = HIT.replace('"-" ', '"https://www.google.com/search?q=a&email=b@c.example" ')
    done = access(tmp_path / "a.log", writer, line, host="shop.example")
    assert done.stored_n == 1
    (event,) = logged()
    assert (event["type"], event["name"], event["protocol"]) == ("page", "page", "access-log")
    assert event["occurred_at"] == "2015-05-17T08:05:03.000Z"  # the offset is taken off
    assert event["url"] == "https://shop.example/a?x=1"
    assert event["referrer"] == "https://www.google.com/search?q=a"
    assert event["context"] == {"ua": AGENT, "ip_prefix": "203.0.113.0/24"}
    assert event["id_kind"] == "given"
    assert "203.0.113.7" not in json.dumps(event)


def test_a_device_is_an_address_with_a_user_agent_under_the_key(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    access(tmp_path / "a", writer, HIT, HIT, HIT.replace("113.7", "113.8"), HIT.replace("Firefox", "Other"))
    access(tmp_path / "b", writer, HIT, key=b"l" * 32)
    devices = [event["anonymous_id"] for event in logged()]
    assert devices[0] == devices[1]
    assert len(set(devices)) == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (HIT.replace("GET", "POST"), "not a GET"),
        (HIT.replace("GET", "HEAD"), "not a GET"),
        (HIT.replace("GET /a?x=1 HTTP/1.1", "-"), "not a GET"),
        (HIT.replace('" 200', '" 404'), "not successful"),
        (HIT.replace('" 200', '" 301'), "not successful"),
        (HIT.replace("/a?x=1", "/style.CSS?v=2"), "asset"),
        (HIT.replace("/a?x=1", "/favicon.ico"), "asset"),
    ],
)
def test_other_requests_are_declined(tmp_path: Path, writer: Writer, line: str, reason: str) -> None:
    done = access(tmp_path / "a.log", writer, line)
    assert (done.declined, done.stored_n, done.rejected_n) == ({reason: 1}, 0, 0)


@pytest.mark.parametrize(
    "line",
    [
        HIT.replace("200", "304"),
        HIT.replace("512", "-"),
        HIT.replace("/a?x=1", "/css"),
        HIT.replace("/a?x=1", "/v1.2/page"),
        HIT.replace("/a?x=1", "/page?file=x.css"),
        HIT.replace("/a?x=1", "//double/slash"),
        HIT.replace("/a?x=1", "http://shop.example/a"),
        HIT.replace(AGENT, r"odd \"quoted\" \xe9 agent"),
        HIT.replace("/a?x=1", "/caf\xe9"),
    ],
)
def test_these_are_page_views(tmp_path: Path, writer: Writer, line: str) -> None:
    assert access(tmp_path / "a.log", writer, line).stored_n == 1


@pytest.mark.parametrize(
    "line",
    [
        HIT[:-1],
        HIT.replace("17/May", "32/May"),
        HIT.replace("17/May", "17/Mai"),
        HIT.replace(" +0200", ""),
        HIT.replace(" 200 ", " OK "),
        "GET /",
    ],
)
def test_a_malformed_line_is_rejected_by_name(
    tmp_path: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]], line: str
) -> None:
    assert access(tmp_path / "a.log", writer, HIT, line).rejected_n == 1
    (_, rejected) = logged()
    assert rejected["reason"] == "undecodable"
    assert rejected["detail"] == "line 2: not in the combined log format"
    assert base64.b64decode(rejected["bytes"]).decode() == line


def test_the_real_access_log_adds_up(
    testdata: Path, writer: Writer, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    path = testdata / "apache_logs.log"
    done = import_access_log(path, writer, source="web", key=b"k" * 32, clock=clock)
    assert (done.lines_n, done.rejected_n) == (10_000, 1)
    assert done.lines_n == done.stored_n + done.rejected_n + done.declined_n
    # Another way to the same number: split by quotes and blanks, no regular expression.
    views = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        parts = line.split('"')
        method, target = parts[1].split(" ")[:2]
        _, dot, ending = target.split("?")[0].split("/")[-1].lower().rpartition(".")
        is_view = method == "GET" and parts[2].split()[0] in ("200", "206", "304") and not (dot and ending in ENDINGS)
        views += len(parts) >= 7 and is_view
    assert done.stored_n == views
    lines = logged()
    assert Counter("reason" in line for line in lines) == {False: done.stored_n, True: 1}
    assert len({line["event_id"] for line in lines if "event_id" in line}) == done.stored_n


def test_the_real_clickstream_goes_in_as_native_lines(testdata: Path, tmp_path: Path, writer: Writer) -> None:
    with gzip.open(testdata / "ecom.csv.gz", "rt") as file, (tmp_path / "ecom.jsonl").open("w") as out:
        for row in csv.DictReader(file):
            when = row["timestamp"].replace(" ", "T") + "Z"
            event = {"type": "track", "event": row["event"], "anonymousId": row["user_id"], "timestamp": when}
            out.write(json.dumps(event) + "\n")
    done = import_jsonl(tmp_path / "ecom.jsonl", writer, source="shop", clock=clock)
    assert (done.lines_n, done.stored_n, done.rejected_n, done.declined_n) == (31_106, 31_106, 0, 0)
