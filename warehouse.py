"""The only door to DuckDB: open and lock, transactions, and the files under sql/."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

SQL = Path(__file__).parent / "sql"
SCHEMAS = {"1_raw": "raw", "2_core": "core", "3_marts": "marts", "4_meta": "meta"}
HEADER_BYTES = 3 * 4096  # of DuckDB's file: without them it holds no data
PIECE = 122_880  # rows, as many as DuckDB keeps together
HEADERS = ("grain", "inputs", "surprising row", "reach")


class WarehouseError(Exception):
    """The warehouse cannot be used as asked; the message says why and how to mend it."""


class DamagedWal(WarehouseError):
    """DuckDB refuses the write-ahead file `wal`: `why`. The file beside it may be whole."""

    def __init__(self, wal: Path, why: str) -> None:
        super().__init__(
            f"The warehouse's write-ahead file {wal} is damaged ({why}). "
            f"Set it aside and read again what it held: footfall doctor --repair --home {wal.parent}"
        )
        self.wal, self.why = wal, why


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """One file under sql/: its header, its columns, and the query that fills it (None: Python does)."""

    schema: str
    name: str
    header: Mapping[str, str]
    columns: tuple[Column, ...]
    create: str
    query: str | None

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


def read_table(path: Path) -> Table:
    """The table that a file under sql/<n>_<schema>/ declares.

    The file holds four header lines, one `create table` whose columns stand one a line, each with a trailing
    `-- comment`, and then at most one query. Raises WarehouseError where a part is missing.
    """
    text = path.read_text()
    header: dict[str, str] = {}
    for line, word in zip(text.splitlines(), HEADERS, strict=False):
        if not line.startswith(f"-- {word}: "):
            raise WarehouseError(f"{path}: line {len(header) + 1} must begin with '-- {word}: '")
        header[word] = line.removeprefix(f"-- {word}: ")
    match = re.search(r"^create table if not exists (\w+)\.(\w+) \(\n(.*?)^\);\n?", text, re.MULTILINE | re.DOTALL)
    if not match:
        raise WarehouseError(f"{path}: no 'create table if not exists schema.name (' with one column a line")
    columns = []
    for line in match[3].splitlines():
        column = re.match(r"^\s+(\"?\w+\"?)\s+(.+?),?\s*--\s+(.+)$", line)
        if not column:
            raise WarehouseError(f"{path}: the column line {line.strip()!r} must be: name type, -- comment")
        columns.append(Column(column[1].strip('"'), column[2], column[3]))
    query = text[match.end() :].strip()
    return Table(match[1], match[2], header, tuple(columns), match[0], query or None)


@cache
def tables() -> Mapping[str, Table]:
    """All tables under sql/ by full name ("core.sessions"), in flow order."""
    found = [read_table(path) for folder in SCHEMAS for path in sorted((SQL / folder).glob("*.sql"))]
    return {table.full_name: table for table in found}


class _Held:
    """What DuckDB reads in place of a frame: inside a transaction it keeps all that was registered to the end."""

    def __init__(self, frame: pl.DataFrame | pa.Table) -> None:
        self.table: pa.Table | None = frame.to_arrow() if isinstance(frame, pl.DataFrame) else frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        assert self.table is not None
        # In pieces, which DuckDB reads side by side.
        return self.table.to_reader(max_chunksize=PIECE).__arrow_c_stream__(requested_schema)


class Warehouse:
    """An open warehouse. One process writes; all statements go through here."""

    def __init__(self, con: duckdb.DuckDBPyConnection, path: Path | None) -> None:
        self.con = con
        self.path = path
        self._in_transaction = False

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Run one statement with bound values; all its rows (an update gives its row count as [(n,)])."""
        return self.con.execute(sql, _used(sql, values)).fetchall()

    def value(self, sql: str, values: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None without a row."""
        rows = self.execute(sql, values)
        return rows[0][0] if rows else None

    def frame(self, sql: str, values: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The rows of a query as a Polars frame, in the query's order."""
        frame: pl.DataFrame = self.con.sql(sql, params=_used(sql, values)).pl()
        return frame

    @contextmanager
    def frames(self, **frames: pl.DataFrame | pa.Table) -> Iterator[None]:
        """Make Polars frames and Arrow tables readable in SQL under their names while the block runs."""
        held = {name: _Held(frame) for name, frame in frames.items()}
        for name, frame in held.items():
            self.con.register(name, frame)
        try:
            yield
        finally:
            for name, frame in held.items():
                frame.table = None
                # After an error the transaction refuses this too, and would hide what went wrong.
                with suppress(duckdb.Error):
                    self.con.unregister(name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. After any error: rollback (a COMMIT after an error is silent and loses the rows)."""
        if self._in_transaction:
            raise WarehouseError("a transaction is open already")
        self.con.execute("begin")
        self._in_transaction = True
        try:
            yield
            self.con.execute("commit")
        except BaseException:
            # An error inside the statement may have ended the transaction already.
            with suppress(duckdb.Error):
                self.con.execute("rollback")
            raise
        finally:
            self._in_transaction = False

    def create_tables(self, schemas: tuple[str, ...] = ("raw", "core", "marts", "meta")) -> None:
        """Create what is missing of the tables under sql/."""
        with self.transaction():  # each alone would wait for the disk
            for schema in schemas:
                self.con.execute(f"create schema if not exists {schema}")
            for table in tables().values():
                if table.schema in schemas:
                    self.con.execute(table.create)
            self._add_columns(schemas)

    def insert(self, table_name: str, values: Mapping[str, Any] | None = None) -> int:
        """Append the rows of the table's own query, bound to `values`; how many they were."""
        sql = f"insert into {table_name} by name {self.query(table_name)}"
        return int(self.con.execute(sql, _used(sql, values)).fetchall()[0][0])

    def query(self, table_name: str) -> str:
        """The query of the table's own file."""
        query = tables()[table_name].query
        if query is None:
            raise WarehouseError(f"{table_name} has no query of its own")
        return query.rstrip(";")

    def _add_columns(self, schemas: tuple[str, ...]) -> None:
        """Bring tables that an older version made to the columns of this one.

        A table of facts gets the columns that were added since, with null in its rows. A model's table is made
        again, empty: its declaration has changed, so the next build fills it anew.
        """
        found = self.execute(
            "select schema_name || '.' || table_name, list(column_name) from duckdb_columns() "
            "where not internal group by 1"
        )
        for name, columns in found:
            table = tables().get(name)
            added = [each for each in table.columns if each.name not in columns] if table else []
            if not table or table.schema not in schemas or not added:
                continue
            if table.schema in ("core", "marts"):
                self.con.execute(f"drop table {name}")
                self.con.execute(table.create)
                continue
            for column in added:
                if "not null" in column.type:
                    raise WarehouseError(
                        f"The table {name} of {self.path} was made by another version of footfall: it has no column "
                        f"{column.name}. Move the file away, then land and build again."
                    )
                self.con.execute(f'alter table {name} add column "{column.name}" {column.type}')

    def columns(self, table_name: str) -> list[str]:
        """The table's column names, in order."""
        return [column.name for column in tables()[table_name].columns]

    def insert_frame(self, table_name: str, frame: pl.DataFrame) -> int:
        """Append a frame's rows, matched to the table by column name; how many they were."""
        if frame.is_empty():
            return 0
        with self.frames(_frame=frame):
            return int(self.con.execute(f"insert into {table_name} by name select * from _frame").fetchall()[0][0])

    def checkpoint(self) -> None:
        """Fold the write-ahead file into the database file."""
        self.con.execute("checkpoint")

    def free_share(self) -> float:
        """How much of the file holds nothing, from 0 to 1."""
        free, total = self.execute("select free_blocks, total_blocks from pragma_database_size()")[0]
        return float(free / total) if total else 0.0

    def compact(self) -> tuple[int, int]:
        """Copy all into a new file without holes and put it in the place of this one; bytes before and after.

        Closes the warehouse: who wants more opens it again. Killed in the middle, the old file stays as it is.
        Raises WarehouseError where the disk has too little room for both.
        """
        if self.path is None:
            raise WarehouseError("a warehouse in memory has no file to compact")
        self.checkpoint()
        before, room = self.path.stat().st_size, shutil.disk_usage(self.path.parent).free
        needed = round(before * (1 - self.free_share()) * 1.2) + 2**20
        if room < needed:
            raise WarehouseError(
                f"To compact {self.path}, {needed / 2**20:,.0f} MiB must be free on its disk, and "
                f"{room / 2**20:,.0f} MiB are. Free some, then try again."
            )
        new = self.path.with_name(f"{self.path.name}.new")
        remove_scratch(self.path)
        self.con.execute("set preserve_insertion_order = true")
        self.con.execute(f"attach '{str(new).replace(chr(39), chr(39) * 2)}' as compacted")
        held = self.execute("select current_database()")[0][0]
        self.con.execute(f'copy from database "{held}" to compacted')
        self.con.execute("checkpoint compacted")
        self.con.execute("detach compacted")
        new.chmod(self.path.stat().st_mode & 0o777)
        _sync(new)
        # The lock on the old file is held until the new one stands in its place.
        new.replace(self.path)
        _sync(self.path.parent)
        self.close()
        return before, self.path.stat().st_size

    def close(self) -> None:
        self.con.close()


def remove_scratch(path: Path) -> None:
    """Remove what a killed compaction of the warehouse at `path` left behind."""
    for leftover in path.parent.glob(f"{path.name}.new*"):
        leftover.unlink()


def _sync(path: Path) -> None:
    """Bring a file's or a folder's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inode(path: Path | None) -> int | None:
    try:
        return path.stat().st_ino if path else None
    except FileNotFoundError:
        return None


def _used(sql: str, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of `values`, those that the statement names: DuckDB refuses others."""
    if not values:
        return None
    named = set(re.findall(r"\$(\w+)", sql))
    return {key: value for key, value in values.items() if key in named} or None


def open_warehouse(
    path: Path | None,
    *,
    wait_s: float = 30,
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Warehouse:
    """Open (and create) the warehouse at `path`, None for one in memory.

    Another process may hold the file: waits up to `wait_s` seconds, then raises WarehouseError that names it.
    Raises DamagedWal, and WarehouseError for a damaged file.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "checkpoint_threshold": "1GB",
        "preserve_insertion_order": False,
    }
    if memory_limit:
        config["memory_limit"] = memory_limit
    if threads:
        config["threads"] = threads
    deadline = time.monotonic() + wait_s
    while True:
        before = _inode(path)
        try:
            con = duckdb.connect(str(path) if path else ":memory:", config=config)
            if before in (None, _inode(path)):
                break
            con.close()  # a compaction put another file in its place meanwhile
        except duckdb.IOException as error:
            held = re.search(r"held in (.*?)(?: by user.*?)?\(PID (\d+)\)", str(error))
            if not held and "lock" not in str(error):
                if path and path.exists() and path.stat().st_size < HEADER_BYTES:
                    # Whoever made it was killed before it could hold anything; nobody else has it open.
                    path.unlink()
                    continue
                raise _damaged(path, error) from error
            if time.monotonic() >= deadline:
                holder = f"{held[1].strip()} (process {held[2]})" if held else "another process"
                raise WarehouseError(
                    f"The warehouse {path} is held by {holder}. Wait until it ends, or end it, then try again."
                ) from error
            time.sleep(0.1)
        except duckdb.Error as error:
            # DuckDB has no class of its own for a checksum that is wrong.
            raise _damaged(path, error) from error
    con.execute("set timezone = 'UTC'")
    warehouse = Warehouse(con, path)
    warehouse.create_tables()
    return warehouse


def _damaged(path: Path | None, error: duckdb.Error) -> WarehouseError:
    why = str(error).splitlines()[0].removeprefix("IO Error: ")
    wal = path.with_name(path.name + ".wal") if path else None
    if wal and wal.exists() and re.search(r"\bWAL\b", why):
        return DamagedWal(wal, re.sub(r"^Failure while replaying WAL file .*?: ", "", why))
    return WarehouseError(
        f"The warehouse {path} cannot be opened: {why}. If the file is damaged, put a backup of it back, or move it "
        "away and land again: that reads all that the log or Kafka still hold."
    )
