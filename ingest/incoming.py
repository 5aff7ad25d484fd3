"""From lines to rows: what DuckDB reads of a batch, and what it cannot."""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl

from warehouse import Warehouse

SCRATCH = "landing-*.ndjson"
REJECT_BYTES = 64 << 10
FIELDS = {
    "event_id": "varchar",
    "source": "varchar",
    "protocol": "varchar",
    "ingest": "varchar",
    "type": "varchar",
    "name": "varchar",
    "anonymous_id": "varchar",
    "user_id": "varchar",
    "id_kind": "varchar",
    "session_hint": "varchar",
    "page_view_id": "varchar",
    "seq": "bigint",
    "occurred_at": "timestamp",
    "sent_at": "timestamp",
    "received_at": "timestamp",
    "url": "varchar",
    "referrer": "varchar",
    "title": "varchar",
    "properties": "json",
    "traits": "json",
    "context": "json",
}
REQUIRED = ("event_id", "source", "protocol", "ingest", "type", "name", "occurred_at", "received_at")
# Goes in front of a line: where it stood; the places in the batch of its record's first line and of itself.
PLACE = {"part": "varchar", "record_offset": "bigint", "first_no": "bigint", "line_no": "bigint"}
COLUMNS = ", ".join(f"{name}: '{kind}'" for name, kind in {**PLACE, **FIELDS}.items())
# h64 of semantics.md section 0: first 8 bytes of SHA-256, big-endian, top bit cleared, parts joined by 0x1F.
ID_HASH = "(('0x' || substr(sha256(source || chr(31) || event_id), 1, 16))::ubigint & 9223372036854775807)::bigint"
READ = f"read_json($path, format = 'newline_delimited', columns = {{{COLUMNS}}})"
INSERT = f"""
insert into raw.events by name
select
    $base + line_no + 1 as event_no, $landing_id as landing_id, $topic as topic,
    part, record_offset, line_no - first_no as index_in_record, {ID_HASH} as id_hash, {", ".join(FIELDS)}
from {READ}
"""
PROBE = f"create or replace temp table probe as select * from {READ}"
MISSING = f"select count(*) from probe where {' or '.join(f'{name} is null' for name in REQUIRED)}"
UNREADABLE = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.ConstraintException,
)
REJECTED: dict[str, Any] = {
    "part": pl.String,
    "record_offset": pl.Int64,
    "index_in_record": pl.Int32,
    "source": pl.String,
    "protocol": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "bytes": pl.Binary,
    "received_at": pl.Datetime("us"),
}


@dataclass(frozen=True)
class Record:
    """What came under one position (a chunk of the log): lines, each with its newline; when, naive UTC."""

    part: str
    offset: int
    body: bytes
    line_n: int
    received_at: datetime | None


class LandingError(Exception):
    """A landing cannot go on; nothing of the batch was kept. The message says why and how to mend it."""


class _Event(msgspec.Struct):
    """What no row can lack; no stricter than DuckDB, or a line's fate would hang on its batch."""

    event_id: str | int | float | bool
    source: str | int | float | bool
    protocol: str | int | float | bool
    ingest: str | int | float | bool
    type: str | int | float | bool
    name: str | int | float | bool
    occurred_at: str
    received_at: str


class _Reject(msgspec.Struct):
    reason: str
    detail: str | None = None
    bytes: str | None = None
    source: str | None = None
    protocol: str | None = None
    received_at: datetime | None = None


class _HasReason(msgspec.Struct):
    reason: str | msgspec.UnsetType = msgspec.UNSET


_made_numbers: list[bytes] = []
_event = msgspec.json.Decoder(_Event)
_reject = msgspec.json.Decoder(_Reject)
_has_reason = msgspec.json.Decoder(_HasReason)


class Incoming:
    """The lines of a batch on their way: events in a scratch file that DuckDB reads, the others set aside.

    A line is in exactly one of the two. Set aside are the collector's rejects (lines with a reason) and, once
    found, the lines that cannot be landed: no JSON, a wrong type, a required field missing. `path` is the
    scratch file.
    """

    def __init__(self, path: Path, records: Sequence[Record]) -> None:
        self.path = path
        self._records = records
        self._first = [0, *accumulate(record.line_n for record in records)]
        # Lines set aside, by the number of their record and their place in it.
        self._aside: dict[int, dict[int, bytes]] = {}
        with path.open("wb") as file:
            for k in range(len(records)):
                file.write(self._placed(k))

    def insert(self, warehouse: Warehouse, *, base: int, landing_id: int, topic: str) -> int:
        """Append the events to raw.events; how many. event_no = base + 1 + place of the line in the batch.

        Raises one of UNREADABLE when a line cannot be landed: roll back, call `find_unreadable`, try again.
        """
        values = {"path": str(self.path), "base": base, "landing_id": landing_id, "topic": topic}
        return int(warehouse.execute(INSERT, values)[0][0])

    def find_unreadable(self, warehouse: Warehouse) -> None:
        """Set aside the lines that cannot be landed: what msgspec refuses, and of the rest what DuckDB."""
        good: list[tuple[int, int, bytes]] = []
        bad: list[tuple[int, int, bytes]] = []
        for k, record in enumerate(self._records):
            aside = self._aside.get(k, {})
            for i, line in enumerate(_lines(record)):
                if i not in aside:
                    (good if _decodes(line) else bad).append((k, i, line))
        bad += self._search(warehouse, good)
        if not bad:
            raise LandingError(
                "DuckDB refused a batch of which it reads every line alone; nothing of it was kept. "
                "Land again with a smaller [land] batch_events."
            )
        for k, i, line in bad:
            self._aside.setdefault(k, {})[i] = line
        warehouse.execute("drop table if exists temp.probe")
        with self.path.open("wb") as file:
            for k in range(len(self._records)):
                file.write(self._placed(k))

    def rejects(self) -> pl.DataFrame:
        """The lines set aside as rows of raw.rejected, without landing_id and topic."""
        rows = [
            {
                "part": self._records[k].part,
                "record_offset": self._records[k].offset,
                "index_in_record": i,
                **_reject_of(line, self._records[k].received_at),
            }
            for k, aside in sorted(self._aside.items())
            for i, line in sorted(aside.items())
        ]
        return pl.DataFrame(rows, schema=REJECTED)

    def _placed(self, k: int) -> bytes:
        """The events of one record as newline-delimited JSON with their places; the other lines go aside."""
        record = self._records[k]
        first, last = self._first[k], self._first[k + 1]
        head = b'{"part":"%b","record_offset":%d,"first_no":%d,' % (
            record.part.encode(),
            record.offset,
            first,
        )
        if k not in self._aside and b'"reason":' not in record.body and record.body[:1] == b"{":
            rests = record.body[1:].split(b"\n{")
            if len(rests) == record.line_n:
                # Every line opens with a brace and has no reason: no loop over lines is needed.
                parts = [b"\n" + head] * (3 * record.line_n)
                parts[0] = head
                parts[1::3] = _numbers(last)[first:last]
                parts[2::3] = rests
                return b"".join(parts)
        aside = self._aside.setdefault(k, {})
        parts = []
        for i, line in enumerate(_lines(record)):
            if i not in aside and _is_no_event(line):
                aside[i] = line
            if i not in aside:
                parts.append(b'%b"line_no":%d,%b\n' % (head, first + i, line[1:]))
        return b"".join(parts)

    def _search(self, warehouse: Warehouse, lines: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
        with self.path.open("wb") as file:
            file.write(b"".join(b'{"line_no":0,%b\n' % line[1:] for _, _, line in lines))
        try:
            warehouse.execute(PROBE, {"path": str(self.path)})
            if warehouse.value(MISSING) == 0:
                return []
        except UNREADABLE:
            pass
        if len(lines) == 1:
            return lines
        half = len(lines) // 2
        return self._search(warehouse, lines[:half]) + self._search(warehouse, lines[half:])


@contextmanager
def incoming(home: Path, records: Sequence[Record]) -> Iterator[Incoming]:
    """The lines of the records, with a scratch file in `home` as long as the block runs."""
    prefix, suffix = SCRATCH.split("*")
    descriptor, name = tempfile.mkstemp(dir=home, prefix=prefix, suffix=suffix)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Incoming(Path(name), records)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(descriptor)


def remove_leftovers(home: Path) -> None:
    """Remove the scratch files of landings that were killed."""
    for path in home.glob(SCRATCH):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _numbers(line_n: int) -> list[bytes]:
    for number in range(len(_made_numbers), line_n):
        _made_numbers.append(b'"line_no":%d,' % number)
    return _made_numbers


def _lines(record: Record) -> list[bytes]:
    return record.body.split(b"\n")[:-1]


def _is_no_event(line: bytes) -> bool:
    if line[:1] != b"{":
        return True
    if b'"reason":' not in line:
        return False
    try:
        return _has_reason.decode(line).reason is not msgspec.UNSET
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return True


def _decodes(line: bytes) -> bool:
    try:
        _event.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _reject_of(line: bytes, received_at: datetime | None) -> dict[str, Any]:
    try:
        reject = _reject.decode(line)
        content = base64.b64decode(reject.bytes or "", validate=True)
        return {
            "source": reject.source,
            "protocol": reject.protocol,
            "reason": reject.reason,
            "detail": reject.detail,
            "bytes": content[:REJECT_BYTES],
            "received_at": naive(reject.received_at) or received_at,
        }
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error):
        try:
            _event.decode(line)
            why = "DuckDB cannot read it"
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = str(error)
        return {
            "reason": "undecodable",
            "detail": f"The line on the log is no event: {why}",
            "bytes": line[:REJECT_BYTES],
            "received_at": received_at,
        }


def naive(at: datetime | None) -> datetime | None:
    """The instant as DuckDB keeps it: UTC without a zone. Without a zone it is taken as UTC already."""
    return at.astimezone(UTC).replace(tzinfo=None) if at and at.tzinfo else at
