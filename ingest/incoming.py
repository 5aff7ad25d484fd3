"""From lines to a temporary table: what DuckDB reads of a batch, and what it cannot."""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
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
COLUMNS = ", ".join(f"{name}: '{kind}'" for name, kind in {"k": "integer", "i": "integer", **FIELDS}.items())
# h64 of semantics.md section 0: first 8 bytes of SHA-256, big-endian, top bit cleared, parts joined by 0x1F.
ID_HASH = (
    "(('0x' || substr(sha256(source || chr(31) || event_id), 1, 16))::ubigint & 9223372036854775807)::bigint"
)
READ = f"""
create or replace temp table incoming as
select
    records.first_no + lines.i as line_no, records.part, records.record_offset, lines.i as index_in_record,
    {ID_HASH} as id_hash, {", ".join(FIELDS)}
from read_json($path, format = 'newline_delimited', columns = {{{COLUMNS}}}) as lines
inner join records on lines.k = records.k
"""
MISSING = f"select count(*) from incoming where {' or '.join(f'{name} is null' for name in REQUIRED)}"
REJECTED: dict[str, Any] = {
    "line_no": pl.Int64,
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
    """The lines that came under one position (a chunk of the log), and when they were taken (naive UTC)."""

    part: str
    offset: int
    lines: Sequence[bytes]
    received_at: datetime | None


class _Event(msgspec.Struct):
    event_id: str
    source: str
    protocol: str
    ingest: str
    type: str
    name: str
    occurred_at: datetime
    received_at: datetime
    anonymous_id: str | None = None
    user_id: str | None = None
    id_kind: str | None = None
    session_hint: str | None = None
    page_view_id: str | None = None
    seq: int | None = None
    sent_at: datetime | None = None
    url: str | None = None
    referrer: str | None = None
    title: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class _Reject(msgspec.Struct):
    reason: str
    detail: str | None = None
    bytes: str | None = None
    source: str | None = None
    protocol: str | None = None
    received_at: datetime | None = None


class _HasReason(msgspec.Struct):
    reason: str | msgspec.UnsetType = msgspec.UNSET


_event = msgspec.json.Decoder(_Event)
_reject = msgspec.json.Decoder(_Reject)
_has_reason = msgspec.json.Decoder(_HasReason)


def read(warehouse: Warehouse, home: Path, records: Sequence[Record]) -> pl.DataFrame:
    """Fill the temporary table `incoming` with the events of the records; their rejects as a frame.

    Every line is in one of the two. `incoming` has line_no (place in the batch, from 0), the coordinates,
    id_hash and the canonical fields. A line that cannot be decoded, or lacks a required field, is a reject
    `undecodable`. `home` is the folder for the scratch file that DuckDB reads.
    """
    rejects: list[dict[str, Any]] = []
    aside: set[tuple[int, int]] = set()
    first_no = []
    line_n = 0
    for k, record in enumerate(records):
        first_no.append(line_n)
        line_n += len(record.lines)
        for i, line in enumerate(record.lines):
            if b'"reason":' in line and _is_reject(line):
                aside.add((k, i))
    table = pl.DataFrame(
        {
            "k": range(len(records)),
            "first_no": first_no,
            "part": [record.part for record in records],
            "record_offset": [record.offset for record in records],
        },
        schema={"k": pl.Int32, "first_no": pl.Int64, "part": pl.String, "record_offset": pl.Int64},
    )
    with _scratch(home) as path, warehouse.frames(records=table):
        if not _fill(warehouse, path, records, aside):
            aside |= _undecodable(warehouse, path, records, aside)
            if not _fill(warehouse, path, records, aside):
                raise LandingError("The batch cannot be read even without the lines that cannot be decoded.")
    for k, i in sorted(aside):
        record = records[k]
        rejects.append(
            {
                "line_no": first_no[k] + i,
                "part": record.part,
                "record_offset": record.offset,
                "index_in_record": i,
                **_fate(record.lines[i], record.received_at),
            }
        )
    return pl.DataFrame(rejects, schema=REJECTED)


class LandingError(Exception):
    """A landing cannot go on; nothing of the batch was kept. The message says why and how to mend it."""


def remove_leftovers(home: Path) -> None:
    """Remove the scratch files of landings that were killed."""
    for path in home.glob(SCRATCH):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    prefix, suffix = SCRATCH.split("*")
    descriptor, name = tempfile.mkstemp(dir=home, prefix=prefix, suffix=suffix)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(descriptor)


def _is_reject(line: bytes) -> bool:
    try:
        return _has_reason.decode(line).reason is not msgspec.UNSET
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def _fill(warehouse: Warehouse, path: Path, records: Sequence[Record], aside: set[tuple[int, int]]) -> bool:
    """Whether DuckDB read all lines but those set aside, each with what an event must have."""
    with path.open("wb") as file:
        for k, record in enumerate(records):
            file.write(_with_coordinates(k, record.lines, {i for at, i in aside if at == k} if aside else ()))
    return _is_readable(warehouse, path)


def _is_readable(warehouse: Warehouse, path: Path) -> bool:
    try:
        warehouse.execute(READ, {"path": str(path)})
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException):
        return False
    return bool(warehouse.value(MISSING) == 0)


def _with_coordinates(k: int, lines: Sequence[bytes], aside: Iterable[int]) -> bytes:
    skip = frozenset(aside)
    kept = [(i, line) for i, line in enumerate(lines) if i not in skip] if skip else enumerate(lines)
    # The place goes in front of the line's own fields; a line that is no object stays none.
    return b"".join(
        [b'{"k":%d,"i":%d,%b\n' % (k, i, line[1:] if line[:1] == b"{" else b"!") for i, line in kept]
    )


def _undecodable(
    warehouse: Warehouse, path: Path, records: Sequence[Record], aside: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """The lines that cannot be landed: those that msgspec refuses, and of the rest those that DuckDB does."""
    bad: set[tuple[int, int]] = set()
    good: list[tuple[int, int]] = []
    for k, record in enumerate(records):
        for i, line in enumerate(record.lines):
            if (k, i) in aside:
                continue
            try:
                _event.decode(line)
                good.append((k, i))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                bad.add((k, i))

    def search(part: list[tuple[int, int]]) -> None:
        with path.open("wb") as file:
            for k, i in part:
                line = records[k].lines[i]
                file.write(b'{"k":%d,"i":%d,%b\n' % (k, i, line[1:]))
        if _is_readable(warehouse, path):
            return
        if len(part) == 1:
            bad.add(part[0])
            return
        search(part[: len(part) // 2])
        search(part[len(part) // 2 :])

    search(good)
    return bad


def _fate(line: bytes, received_at: datetime | None) -> dict[str, Any]:
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
