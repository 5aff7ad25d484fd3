"""The published file, opened so that it can only be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

Row = dict[str, Any]


class ReportError(Exception):
    """No report can be made; the message is one sentence that says why and how to mend it."""


class Published:
    """Rows of the published tables, and which of them are there at all."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._columns: dict[str, set[str]] = {}
        for schema, table, column in connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
        ).fetchall():
            self._columns.setdefault(f"{schema}.{table}", set()).add(column)

    def rows(self, sql: str, **values: object) -> list[Row]:
        """All rows of a query as dictionaries; `values` are bound to its `$name`s."""
        result = self._connection.execute(sql, values) if values else self._connection.execute(sql)
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def lacks(self, table: str, columns: str) -> str | None:
        """Why `table` cannot be shown, as a sentence; None when all `columns` (space between) are there."""
        if table not in self._columns:
            return f"The published file has no {table} yet: build and publish, and it appears here."
        missing = sorted(set(columns.split()) - self._columns[table])
        if missing:
            names = ", ".join(missing)
            return f"The published {table} has no column {names}: build and publish with this version."
        return None


@contextmanager
def open_published(path: Path) -> Iterator[Published]:
    """The file at `path`, read-only, cut off from the file system and the network, its settings locked.

    Raises ReportError where it is missing or no DuckDB file.
    """
    if not path.is_file():
        raise ReportError(f"{path} is not there: build and publish first, with footfall run")
    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "lock_configuration": "true",
    }
    try:
        connection = duckdb.connect(str(path), read_only=True, config=settings)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise ReportError(f"{path} cannot be read ({reason}): publish it anew, with footfall publish") from error
    try:
        yield Published(connection)
    finally:
        connection.close()
