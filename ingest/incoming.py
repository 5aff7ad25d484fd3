"""From lines to rows: what DuckDB reads of a batch, and what it cannot."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ingest.source import MARK, LandingError, naive
from warehouse import Warehouse

REJECT_BYTES = 64 << 10
SCAN_ROWS = 20_000  # of one piece of the lines: DuckDB's threads share the pieces
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
PLACE = ("part", "record_offset", "index_in_record", "log_segment", "log_sequence", "log_index")
# from_json takes what has another type for absent, so those that are no text are read as text and cast here.
CAST = {name: kind for name, kind in FIELDS.items() if kind not in ("varchar", "json")}
SHAPE = "{" + ", ".join(f'"{name}": "{"varchar" if name in CAST else kind}"' for name, kind in FIELDS.items()) + "}"
# h64 of semantics.md section 0: first 8 bytes of SHA-256, big-endian, top bit cleared, parts joined by 0x1F.
ID_HASH = "(('0x' || substr(sha256(source || chr(31) || event_id), 1, 16))::ubigint & 9223372036854775807)::bigint"


def _field(name: str) -> str:
    return f"event.{name}::{CAST[name]} as {name}" if name in CAST else f"event.{name} as {name}"


# Read once, apart from raw.events: what is deleted again in a transaction makes DuckDB write all of its rows twice.
READ = f"""
create or replace temp table incoming_events as
with parsed as (
    select columns(* exclude (line)), from_json(line, '{SHAPE}') as event from incoming_lines
),

events as (
    select * exclude (event), {", ".join(map(_field, FIELDS))} from parsed
)

select
    * exclude (line_no), $base + line_no + 1 as event_no, $landing_id as landing_id, $topic as topic,
    {ID_HASH} as id_hash
from events
"""
LACKS = " or ".join(
    [f"event.{name} is null" for name in REQUIRED]
    + [f"(event.{name} is not null and try_cast(event.{name} as {kind}) is null)" for name, kind in CAST.items()]
)
UNREADABLE_LINES = f"""
with parsed as (
    select line_no, try(from_json(line, '{SHAPE}')) as event from incoming_lines
)

select line_no from parsed where event is null or {LACKS}
"""
# What msgspec says of a line that it cannot read; of thousands of brackets, Python's own limit.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
UNREADABLE = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.ConstraintException,
)
REJECTED: dict[str, Any] = {
    "line_no": pl.Int64,
    "part": pl.String,
    "record_offset": pl.Int64,
    "index_in_record": pl.Int32,
    "log_segment": pl.String,
    "log_sequence": pl.Int64,
    "log_index": pl.Int32,
    "source": pl.String,
    "protocol": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "bytes": pl.Binary,
    "received_at": pl.Datetime("us"),
}


class _Event(msgspec.Struct):
    """What no row can lack: only to say what an unreadable line lacks."""

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


_event = msgspec.json.Decoder(_Event)
_reject = msgspec.json.Decoder(_Reject)
_has_reason = msgspec.json.Decoder(_HasReason)


class Incoming:
    """The lines of a batch on their way: those that DuckDB is to read, and those set aside.

    A line is in exactly one of the two. Set aside are the collector's rejects (lines with a reason), what a
    source says is none of ours, and, once found, what cannot be landed: no JSON, a wrong type, a required
    field missing. Of a key that comes twice in a line the first value counts.
    """

    def __init__(self, lines: pa.Table) -> None:
        self._lines = lines
        line = lines["line"]
        odd = pc.or_(lines["has_mark"], pc.is_valid(lines["why"]))
        odd = pc.or_(odd, pc.fill_null(pc.invert(pc.starts_with(line, b"{")), True))
        self._aside = {
            i for i in pc.indices_nonzero(odd).to_pylist() if lines["why"][i].is_valid or _is_no_event(line[i].as_py())
        }
        self._texts = self._readable()

    def read(self, warehouse: Warehouse, *, base: int, landing_id: int, topic: str) -> None:
        """Have the events in temp.incoming_events, as rows of raw.events. event_no = base + 1 + place in the batch.

        Raises one of UNREADABLE when a line is no event; so may whoever inserts the rows into raw.events, since
        they can lack what no row there lacks. Then roll back, call `find_unreadable`, try again.
        """
        with warehouse.frames(incoming_lines=self._texts):
            warehouse.execute(READ, {"base": base, "landing_id": landing_id, "topic": topic})

    def find_unreadable(self, warehouse: Warehouse) -> None:
        """Set aside the lines that cannot be landed."""
        with warehouse.frames(incoming_lines=self._texts):
            found = [line_no for (line_no,) in warehouse.execute(UNREADABLE_LINES)]
        if not found:
            raise LandingError(
                "DuckDB refused a batch of which it reads every line alone; nothing of it was kept. "
                "Land again with a smaller [land] batch_events."
            )
        self._aside.update(found)
        self._texts = self._readable()

    def rejects(self) -> pl.DataFrame:
        """The lines set aside as rows of raw.rejected, with line_no, without landing_id and topic."""
        numbers = sorted(self._aside)
        if not numbers:  # taking nothing still costs as much as a copy of all lines
            return pl.DataFrame(schema=REJECTED)
        rows = []
        for line_no, row in zip(numbers, self._lines.take(pa.array(numbers, pa.int64())).to_pylist(), strict=True):
            place = {name: row[name] for name in PLACE}
            rows.append({"line_no": line_no, **place, **_reject_of(row["line"], row["why"], row["record_at"])})
        return pl.DataFrame(rows, schema=REJECTED)

    def _readable(self) -> pa.Table:
        """The lines that are not set aside, as text; what is no UTF-8 is set aside."""
        known = [name for name in PLACE if self._lines[name].null_count < self._lines.num_rows]
        while True:
            table = self._lines.select(["line", *known]).append_column(
                "line_no", pa.array(range(self._lines.num_rows), pa.int64())
            )
            if self._aside:
                is_kept = pl.Series([True]).new_from_index(0, self._lines.num_rows)
                is_kept[sorted(self._aside)] = False
                table = table.filter(pa.chunked_array([is_kept.to_arrow()]))
            try:
                text = table["line"].cast(pa.large_string())
            except pa.ArrowInvalid:
                self._aside.update(_not_text(table))
                continue
            return pa.Table.from_batches(
                table.set_column(0, "line", text).to_batches(max_chunksize=SCAN_ROWS),
                schema=table.schema.set(0, pa.field("line", pa.large_string())),
            )


def _not_text(table: pa.Table) -> list[int]:
    found = []
    for line_no, line in zip(table["line_no"].to_pylist(), table["line"].to_pylist(), strict=True):
        try:
            line.decode()
        except UnicodeDecodeError:
            found.append(line_no)
    return found


def _is_no_event(line: bytes | None) -> bool:
    if not line or line[:1] != b"{":
        return True
    if MARK not in line:
        return False
    try:
        return _has_reason.decode(line).reason is not msgspec.UNSET
    except UNDECODABLE:
        return True


def _reject_of(line: bytes | None, why: str | None, record_at: datetime | None) -> dict[str, Any]:
    if why is None:
        try:
            reject = _reject.decode(line or b"")
            content = base64.b64decode(reject.bytes or "", validate=True)
            return {
                "source": reject.source,
                "protocol": reject.protocol,
                "reason": reject.reason,
                "detail": reject.detail,
                "bytes": content[:REJECT_BYTES],
                "received_at": naive(reject.received_at) or record_at,
            }
        except (*UNDECODABLE, binascii.Error):
            why = f"The line is no event: {_lack(line or b'')}"
    kept = None if line is None else line[:REJECT_BYTES]
    return {"reason": "undecodable", "detail": why, "bytes": kept, "received_at": record_at}


def _lack(line: bytes) -> str:
    try:
        _event.decode(line)
    except UNDECODABLE as error:
        return str(error)
    return "DuckDB cannot read it"
