"""One build while it runs: what it works on, what has been touched, and the plan that survives an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from transforms.definitions import Definitions
from warehouse import Warehouse, tables

SHARD_EVENTS = 2_000_000  # held in memory at once, some 300 bytes each
NUMBERS = frozenset({"bigint", "integer", "smallint", "double", "decimal"})
Kind = Literal["device", "again", "person", "ripe", "date", "order"]


@dataclass
class Run:
    """A build, handed to each model.

    `whole` tells the model that runs now to forget its rows and make them all anew. `horizon` is the moment up to
    which everything has landed; `horizon_before` that of the last finished build (None: there is none).
    """

    warehouse: Warehouse
    definitions: Definitions
    key: bytes
    build_id: int
    after: int  # last event_no of the builds before
    upto: int  # last event_no of this build
    horizon: datetime
    horizon_before: datetime | None
    progress: Callable[[str, int, int], None]
    whole: bool = False
    has_gathered: bool = False  # people.gather has found the rows of the touched persons
    data_dates: tuple[date, date] | None = None  # once asked for: the first and last local date with an event of people

    def mark(self, kind: Kind, query: str, values: dict[str, Any] | None = None) -> None:
        """Put the keys that `query` selects (one bigint column) into the plan, for the models that come later."""
        self.warehouse.execute(
            f"insert into meta.dirty select distinct $build, '{kind}', key "
            f"from ({query}) as marked(key) where key is not null",
            {**(values or {}), "build": self.build_id},
        )

    def touched(self, kind: Kind, table: str, everything: str) -> None:
        """Make the temp table `table(key)`: the touched keys, or, when all is made anew, what `everything` selects."""
        query = everything if self.whole else "select key from meta.dirty where build_id = $build and kind = $kind"
        self.warehouse.execute(
            f"create or replace temp table {table} as "
            f"select distinct key from ({query}) as chosen(key) where key is not null",
            {"build": self.build_id, "kind": kind},
        )

    def replace(
        self, table: str, query: str, values: dict[str, Any] | None = None, *, scope: str, key: str, later: str = ""
    ) -> int:
        """Bring the rows of `table` that `scope` (a condition) selects to those of `query`; how many were written.

        Only rows that differ are touched, found by `key`. What they were and are stands afterwards in the temp tables
        old_<name> and new_<name>. `later` names a boolean column that the query does not know; new rows get false.
        """
        warehouse = self.warehouse
        name = table.split(".")[1]
        columns = ", ".join(column for column in warehouse.columns(table) if column != later)
        made = f"select {columns} from (\n{query}\n)"
        warehouse.execute(f"create or replace temp table kept as select {columns} from {table} where {scope}", values)
        if warehouse.value("select exists(from kept)"):
            warehouse.execute(f"create or replace temp table made as {made}", values)
            warehouse.execute(f"create or replace temp table old_{name} as from kept except all from made")
            warehouse.execute(f"create or replace temp table new_{name} as from made except all from kept")
        else:
            warehouse.execute(f"create or replace temp table old_{name} as from kept")
            warehouse.execute(f"create or replace temp table new_{name} as {made}", values)
        # To look for what is to go costs a pass over the whole table.
        if warehouse.value(f"select exists(from old_{name})"):
            gone = f"({key}) in (select {key} from old_{name})"
            warehouse.execute(f"delete from {table} where {scope} and {gone}", values)
        filled = f"select *, false as {later} from new_{name}" if later else f"select * from new_{name}"
        # By date, so that who asks for some dates need not read the others.
        if dated := date_column(warehouse, table):
            filled += f" order by {dated}"
        rows = int(warehouse.execute(f"insert into {table} by name {filled}")[0][0])
        self.note_changed(table, f"select * from old_{name} union all by name select * from new_{name}")
        if table.startswith("marts.") and "is_complete" in columns:
            self._restate(table, key)
        return rows

    def forget(self, table: str, scope: str = "true", values: dict[str, Any] | None = None) -> None:
        """Delete the rows of `table` that `scope` selects; their dates are noted for the next publication."""
        self.note_changed(table, f"select * from {table} where {scope}", values)
        self.warehouse.execute(f"delete from {table} where {scope}", values)

    def note_changed(self, table: str, rows: str, values: dict[str, Any] | None = None) -> None:
        """Note the dates of `rows` (a query with the table's own date column) for the next publication."""
        column = date_column(self.warehouse, table)
        self.warehouse.execute(
            f"insert into meta.changed select distinct '{table}', {column or 'cast(null as date)'} from ({rows}) "
            f"except select table_name, date from meta.changed",
            values,
        )

    def _restate(self, table: str, key: str) -> None:
        """Note each number of a complete cell that differs from what has been published."""
        if not self.warehouse.value("select count(*) from meta.publications"):
            return
        name = table.split(".")[1]
        keys = [column.strip() for column in key.split(",")]
        numbers = [
            column.name
            for column in tables()[table].columns
            if column.name not in keys and column.type.split("(")[0].split()[0] in NUMBERS
        ]
        pairs = ", ".join(
            f"{{'name': '{number}', 'was': cast(o.{number} as double), 'now': cast(n.{number} as double)}}"
            for number in numbers
        )
        label = " || ', ' || ".join(f"'{column} ' || cast(o.{column} as varchar)" for column in keys)
        self.warehouse.execute(
            f"""
            insert into meta.restatements by name
            with compared as (
                select {label} as key, unnest([{pairs}]) as number
                from old_{name} as o
                left join new_{name} as n on {" and ".join(f"o.{column} = n.{column}" for column in keys)}
                where o.is_complete
            )

            select
                '{table}' as table_name, key, number.name as column_name, number.was as was, number.now as now,
                $why as why, $build as build_id, $horizon as restated_at
            from compared
            where
                number.was is distinct from number.now
                -- sums of floats may differ in the last digits
                and not coalesce(abs(number.was - number.now) <= 1e-9 * abs(number.was), false)
            """,
            {
                "why": "definitions changed" if self.whole else "late events",
                "build": self.build_id,
                "horizon": self.horizon,
            },
        )

    def pads(self) -> dict[str, bytes]:
        """The two blocks with which SQL computes HMAC-SHA-256 under the installation's key (RFC 2104)."""
        key = self.key if len(self.key) <= 64 else hashlib.sha256(self.key).digest()
        block = key.ljust(64, b"\0")
        return {"inner": bytes(b ^ 0x36 for b in block), "outer": bytes(b ^ 0x5C for b in block)}


def shard_n(events: int) -> int:
    """Into how many shards of whole units so many events are parted, so that memory does not grow with them."""
    return 1 + events // SHARD_EVENTS


def portions(days: Sequence[tuple[date, int]]) -> list[list[date]]:
    """Days in portions of at most so many events, or of one day; `days`: each with its events, in order."""
    found: list[list[date]] = []
    event_n = 0
    for day, day_n in days:
        if not found or event_n + day_n > SHARD_EVENTS:
            found.append([])
            event_n = 0
        found[-1].append(day)
        event_n += day_n
    return found


def date_column(warehouse: Warehouse, table: str) -> str | None:
    """The column by whose dates a table is published in parts; None: it has no date."""
    columns = warehouse.columns(table)
    return next((column for column in ("date", "period_start", "cohort_start") if column in columns), None)


def keyed_hash(message: str) -> str:
    """SQL for the 64-bit keyed hash of a text expression; binds $inner and $outer (Run.pads)."""
    digest = f"sha256($outer || unhex(sha256($inner || encode({message}))))"
    return f"cast(cast('0x' || substr({digest}, 1, 16) as ubigint) & 9223372036854775807 as bigint)"


def plain_hash(message: str) -> str:
    """SQL for h64, the unkeyed 64-bit hash of a text expression."""
    return f"cast(cast('0x' || substr(sha256({message}), 1, 16) as ubigint) & 9223372036854775807 as bigint)"


def as_key(column: str) -> str:
    """SQL that turns a date column into a key of the plan: days since 1970-01-01."""
    return f"date_diff('day', date '1970-01-01', {column})"
