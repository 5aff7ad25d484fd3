"""History and other systems' events through the same log: JSON lines in the Segment spec, web servers' logs.

Imported events are trusted in their times (`ingest` = import). An event without an id of its own gets one
from the file's content and its line, so that the same file imported twice gives the same ids.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from ingest.event import (
    EVENT_BYTES,
    KEPT_BYTES,
    YEARS,
    BrokenEvent,
    Event,
    Reason,
    Rejection,
    decode_json,
    encode,
    is_plain,
    keep,
    read_id,
    tidy_text,
    write_time,
)
from ingest.log import Writer
from ingest.privacy import cut_ip, read_address
from ingest.protocols.request import Visitor
from ingest.protocols.segment_event import Arrival, read_arrived

CHUNK_LINES: Final = 5000
SAMPLE_LINES: Final = 100  # from so many lines on, a file most of which is unreadable is the wrong file
ACCESS_LOG: Final = "access-log"
ASSETS: Final = frozenset(
    "css js mjs map json xml xsl txt rss atom webmanifest "
    "png jpg jpeg gif svg ico webp avif bmp tif tiff cur woff woff2 ttf otf eot "
    "mp3 mp4 m4a m4v webm ogg ogv wav avi mov flv swf pdf doc docx ppt pptx xls xlsx csv "
    "zip gz tgz bz2 xz 7z rar tar jar exe dmg iso deb rpm".split()
)
COMBINED: Final = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) '
    r'(?:\d+|-) "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)
TIME: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

Progress = Callable[[int, int], None]
Fate = Event | Rejection | str  # stored, rejected, or the reason why it was declined
Read = Callable[[bytes, int, datetime], Fate]


class ImportRefused(Exception):
    """The file cannot be imported and nothing of it was; the message says why."""


@dataclass
class Imported:
    """What became of the lines of a file: lines_n = stored_n + rejected_n + declined_n."""

    lines_n: int = 0
    stored_n: int = 0
    rejected_n: int = 0
    declined: Counter[str] = field(default_factory=Counter)  # by reason

    @property
    def declined_n(self) -> int:
        return self.declined.total()


def import_jsonl(
    path: Path,
    writer: Writer,
    *,
    source: str,
    clock: Callable[[], datetime],
    progress: Progress | None = None,
) -> Imported:
    """Append the events of a file of JSON lines (Segment spec, gzipped or not) to the log, as `source`.

    A bad line becomes a rejection that names its number; empty lines are declined. `clock` gives the time of
    receipt; `progress` is told (lines done, lines). Raises ImportRefused, and the writer's LogFull.
    """
    namespace, total = _survey(path)

    @lru_cache(maxsize=1)
    def arrival_at(received_at: datetime) -> Arrival:
        return Arrival(
            source=source,
            protocol="jsonl",
            ingest="import",
            received_at=received_at,
            received=write_time(received_at),
            sent_at=None,
            visitor=Visitor(),
            default_type=None,
        )

    def read(line: bytes, number: int, received_at: datetime) -> Fate:
        arrival = arrival_at(received_at)
        try:
            item = decode_json(line)
        except BrokenEvent as broken:
            return _reject(broken.reason, broken.detail, line, arrival.received, source, "jsonl")
        if isinstance(item, dict):
            given = item.get("messageId")
            if given is None or (isinstance(given, str) and len(given) <= 36 and read_id(given, "messageId") is None):
                item["messageId"] = str(uuid5(namespace, str(number)))
            made = read_arrived(item, arrival, plain=is_plain(line))
        else:
            made = read_arrived(line, arrival)
        if isinstance(made, Rejection):
            made.bytes = keep(line)
        return made

    return _import(path, writer, read, "jsonl", source, total, clock, progress)


def import_access_log(
    path: Path,
    writer: Writer,
    *,
    source: str,
    key: bytes,
    host: str | None = None,
    clock: Callable[[], datetime],
    progress: Progress | None = None,
) -> Imported:
    """Append the page views of a web server's log (combined format, gzipped or not) to the log, as `source`.

    A page view is a GET with 2xx or 304 that is no asset (by its path's extension); other requests are
    declined, counted by reason; a malformed line is rejected as undecodable. The device is a hash of address
    and user agent under `key`; only the address's prefix is kept. `host` makes the paths whole URLs. The rest
    is as in import_jsonl.
    """
    namespace, total = _survey(path)
    site = "" if host is None else host.rstrip("/") if "://" in host else f"https://{host.rstrip('/')}"

    def read(line: bytes, number: int, received_at: datetime) -> Fate:
        received = write_time(received_at)
        hit = COMBINED.fullmatch(tidy_text(line.decode("utf-8", "replace")))
        occurred_at = _read_time(hit["time"]) if hit else None
        if hit is None or occurred_at is None:
            return _reject(Reason.UNDECODABLE, "not in the combined log format", line, received, source, ACCESS_LOG)
        method, _, rest = hit["request"].partition(" ")
        target = rest.rpartition(" ")[0] or rest
        if reason := _declined(method, target, int(hit["status"])):
            return reason
        agent, referrer = _unescape(hit["agent"]), _unescape(hit["referrer"])
        url = read_address(target if "://" in target.partition("?")[0] else site + target)
        device = hmac.new(key, "\x1f".join((ACCESS_LOG, source, hit["address"], agent)).encode(), hashlib.sha256)
        context = {
            "ua": "" if agent == "-" else agent,
            "ip_prefix": cut_ip(hit["address"]),
            "campaign": url.campaign,
            "click_id": url.click_id,
        }
        return Event(
            event_id=str(uuid5(namespace, str(number))),
            source=source,
            protocol=ACCESS_LOG,
            ingest="import",
            type="page",
            name="page",
            occurred_at=occurred_at,
            received_at=received,
            properties={"status": int(hit["status"])},
            context={name: value for name, value in context.items() if value},
            anonymous_id=device.hexdigest()[:32],
            id_kind="given",
            seq=number,  # the order of views in one second
            url=url.url,
            referrer=None if referrer in ("", "-") else read_address(referrer).url,
        )

    return _import(path, writer, read, ACCESS_LOG, source, total, clock, progress)


# --- access log -------------------------------------------------------------------------------------------


def _declined(method: str, target: str, status: int) -> str | None:
    """Why a request is no page view; None if it is one."""
    if method != "GET" or not target:
        return "not a GET"
    if not (200 <= status < 300 or status == 304):
        return "not successful"
    name = urlsplit(target).path.rpartition("/")[2] if "//" not in target[:2] else target.partition("?")[0]
    return "asset" if name.rpartition(".")[2].lower() in ASSETS and "." in name else None


@lru_cache(maxsize=1024)
def _read_time(text: str) -> str | None:
    """17/May/2015:10:05:03 +0000 as the log writes times; None if there is no such instant."""
    match = TIME.fullmatch(text)
    if not match or match[2] not in MONTHS or int(match[3]) not in YEARS:
        return None
    offset = timedelta(hours=int(match[8]), minutes=int(match[9])) * (1 if match[7] == "+" else -1)
    try:
        zone = timezone(offset)
        day = (int(match[3]), MONTHS.index(match[2]) + 1, int(match[1]))
        instant = datetime(*day, int(match[4]), int(match[5]), int(match[6]), tzinfo=zone)
        return write_time(instant.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _unescape(text: str) -> str:
    r"""Apache writes a quote as \", a backslash as \\ and other bytes as \xhh."""
    if "\\" not in text:
        return text
    data = re.sub(
        rb"\\(?:x([0-9a-fA-F]{2})|(.))",
        lambda match: bytes.fromhex(match[1].decode()) if match[1] else match[2],
        text.encode("utf-8", "replace"),
    )
    return tidy_text(data.decode("utf-8", "replace"))


# --- files and lines --------------------------------------------------------------------------------------


def _import(
    path: Path,
    writer: Writer,
    read: Read,
    protocol: str,
    source: str,
    total: int,
    clock: Callable[[], datetime],
    progress: Progress | None,
) -> Imported:
    done = Imported()
    lines: list[bytes] = []
    first_at = received_at = clock()
    complaint = ""

    def append() -> None:
        nonlocal first_at, received_at
        if done.lines_n <= CHUNK_LINES and done.lines_n >= SAMPLE_LINES and done.rejected_n * 2 > done.lines_n:
            raise ImportRefused(
                f"{path} does not look like {protocol}: {done.rejected_n:,} of its first {done.lines_n:,} "
                f"lines are bad ({complaint}). Nothing of it was imported."
            )
        if lines:
            writer.append(lines, first_at, received_at)
            lines.clear()
        if progress:
            progress(done.lines_n, total)
        first_at = received_at = clock()

    for number, line in enumerate(_lines(path), start=1):
        done.lines_n += 1
        if len(line) > EVENT_BYTES:
            detail = f"longer than {EVENT_BYTES} bytes"
            made: Fate = _reject(Reason.TOO_LARGE, detail, line, write_time(received_at), source, protocol)
        elif not line.strip():
            made = "empty"
        else:
            made = read(line, number, received_at)
        if isinstance(made, str):
            done.declined[made] += 1
        elif isinstance(made, Rejection):
            made.detail = f"line {number}: {made.detail}"
            complaint = complaint or made.detail
            done.rejected_n += 1
            lines.append(encode(made))
        else:
            done.stored_n += 1
            lines.append(encode(made))
        if number % CHUNK_LINES == 0:
            append()
    append()
    return done


def _reject(reason: Reason, detail: str, line: bytes, received: str, source: str, protocol: str) -> Rejection:
    return Rejection(
        reason=reason, detail=detail, bytes=keep(line), received_at=received, source=source, protocol=protocol
    )


def _survey(path: Path) -> tuple[UUID, int]:
    """The namespace of its ids, out of the SHA-256 of the unpacked content, and how many lines it has."""
    digest, total, last = hashlib.sha256(), 0, b"\n"
    with _open(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            total += block.count(b"\n")
            last = block[-1:]
    total += last != b"\n"
    if not total:
        raise ImportRefused(f"{path} is empty: there is nothing to import.")
    return UUID(bytes=digest.digest()[:16]), total


def _lines(path: Path) -> Iterator[bytes]:
    """The lines without their ends; one longer than an event may be comes cut, one byte too long."""
    with _open(path) as file:
        while line := file.readline(EVENT_BYTES + 2):
            if not line.endswith(b"\n") and len(line) == EVENT_BYTES + 2:
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = file.readline(KEPT_BYTES)
                yield line[: EVENT_BYTES + 1]
            else:
                yield line.rstrip(b"\r\n")


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked if they are gzip."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if packed:
                with gzip.open(plain) as file:
                    yield cast(BinaryIO, file)
            else:
                yield plain
    except FileNotFoundError:
        raise ImportRefused(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise ImportRefused(f"{path} is a folder; name a file in it.") from None
    except PermissionError:
        raise ImportRefused(f"{path} cannot be read: its owner does not allow it.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ImportRefused(f"{path} is a damaged gzip file ({error}).") from None
