"""The editable tables of sql/0_rules: read, checked row by row, and put into the schema `rules`."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl

from transforms import cells
from warehouse import Warehouse

BOT_KINDS = ("ai_agent", "monitor", "crawler", "script")  # of several, the first counts
SITE_KINDS = ("search", "social", "video", "shopping", "ai", "referral")  # referral: takes a subdomain out
RUNS_ON = ("browser", "app", "server")
SIGNALS = ("click", "rage", "dead", "error", "scroll_reversals", "ping")


class RulesError(Exception):
    """A rule file is wrong; the message names the file, the line and how to mend it."""


class BotRule(msgspec.Struct, frozen=True):
    """A row of rules.bots that names programs by their user agent: a glob, in any case."""

    name: str
    agent: str
    kind: str


@dataclass(frozen=True)
class RuleTable:
    """One rule file: its columns as (SQL type, reader of a cell), what is unique, and what SQL adds."""

    columns: Mapping[str, tuple[str, Callable[[str], Any]]]
    key: tuple[str, ...]
    added: Mapping[str, str] = field(default_factory=dict)


TABLES = {
    "channels": RuleTable(
        {
            "rank": ("integer", cells.number),
            "channel": ("varchar", cells.text),
            "condition": ("varchar", cells.condition),
        },
        ("rank",),
    ),
    "sites": RuleTable(
        {
            "domain": ("varchar", cells.domain),
            "kind": ("varchar", cells.one_of(*SITE_KINDS)),
            "name": ("varchar", cells.optional),
        },
        ("domain",),
    ),
    "click_ids": RuleTable(
        {
            "param": ("varchar", cells.lower),
            "source": ("varchar", cells.lower),
            "medium": ("varchar", cells.lower),
        },
        ("param",),
    ),
    "bots": RuleTable(
        {
            "name": ("varchar", cells.text),
            "agent": ("varchar", cells.optional),
            "network": ("varchar", cells.optional),
            "kind": ("varchar", cells.one_of(*BOT_KINDS)),
        },
        ("agent", "network"),
        {"network_like": "rules.glob_as_like(network)"},
    ),
    "session_ignore": RuleTable(
        {"name": ("varchar", cells.text), "only_without_url": ("boolean", cells.flag)},
        ("name",),
        {"name_like": "rules.glob_as_like(name)"},
    ),
    "libraries": RuleTable(
        {"name": ("varchar", cells.text), "runs_on": ("varchar", cells.one_of(*RUNS_ON))}, ("name",)
    ),
    "signals": RuleTable(
        {"library": ("varchar", cells.text), "signal": ("varchar", cells.one_of(*SIGNALS))},
        ("library", "signal"),
    ),
    "currency_rates": RuleTable(
        {
            "date": ("date", cells.day),
            "currency": ("varchar", cells.currency),
            "rate": ("decimal(18, 8)", cells.rate),
        },
        ("date", "currency"),
    ),
}

Rows = list[dict[str, Any]]


def load(warehouse: Warehouse, folder: Path) -> str:
    """Bring the schema `rules` up to the files in `folder`; the hash of all that they say, 64 hex digits.

    The hash is of the rows, so a file that a spreadsheet merely saved again changes nothing. With the same
    hash as last time nothing is written. Each file becomes the table of its name, with `row_no` (its order)
    and, for globs, a column `*_like` to use with `like … escape '\\'`. Not to be called in a transaction.
    Raises RulesError where a row is wrong; the tables then stay as they were.
    """
    rows = {name: _read(folder / f"{name}.csv", table) for name, table in TABLES.items()}
    _check_sites(folder, rows["sites"])
    _check_bots(folder, rows["bots"])
    _check_conditions(warehouse, folder, rows["channels"])
    # Order decides, blank lines do not: row_no is part of the hash, line_no is not.
    said = {name: [row | {"line_no": None} for row in rows[name]] for name in rows}
    added = {name: dict(table.added) for name, table in TABLES.items()}
    spelled = json.dumps([said, added], default=str, sort_keys=True)
    rules_hash = hashlib.sha256(spelled.encode()).hexdigest()
    warehouse.execute("create schema if not exists rules")
    warehouse.execute("create table if not exists rules.loaded (rules_hash varchar not null)")
    if warehouse.value("select rules_hash from rules.loaded") == rules_hash:
        return rules_hash
    with warehouse.transaction():
        warehouse.execute(
            r"create or replace macro rules.glob_as_like(pattern) as "
            r"replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')"
        )
        for name, table in TABLES.items():
            _replace(warehouse, name, table, rows[name])
        warehouse.execute("delete from rules.loaded")
        warehouse.execute("insert into rules.loaded values ($rules_hash)", {"rules_hash": rules_hash})
    # Replaying DDL from the write-ahead file is where DuckDB's bugs cluster.
    warehouse.checkpoint()
    return rules_hash


def bot_rules(warehouse: Warehouse) -> list[BotRule]:
    """The rows of rules.bots that name user agents, in their order."""
    found = warehouse.execute("select name, agent, kind from rules.bots where agent is not null order by row_no")
    return [BotRule(name, agent, kind) for name, agent, kind in found]


def _read(path: Path, table: RuleTable) -> Rows:
    place = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RulesError(f"The rule file {path} is missing; put it back, or reinstall footfall.") from None
    except UnicodeDecodeError:
        raise RulesError(f"The rule file {place} is not UTF-8; save it as comma-separated UTF-8.") from None
    lines = csv.reader(text.splitlines(), strict=True)
    head = ",".join(table.columns)
    rows: Rows = []
    seen: dict[tuple[Any, ...], int] = {}
    try:
        if [cell.strip() for cell in next(lines, [])] != list(table.columns):
            raise RulesError(f"{place}, line 1 must be '{head}': put this line back.")
        for found in lines:
            if not any(cell.strip() for cell in found):
                continue
            where = f"{place}, line {lines.line_num}"
            if len(found) != len(table.columns):
                raise RulesError(f"{where} has {len(found)} values, but must have {len(table.columns)} ({head}).")
            row = {}
            for cell, (column, (_, read)) in zip(found, table.columns.items(), strict=True):
                try:
                    row[column] = read(cell.strip())
                except ValueError as error:
                    raise RulesError(f"{where}: {column} {error}.") from None
            key = tuple(row[column] for column in table.key)
            if key in seen:
                said = ", ".join(str(part) for part in key if part is not None)
                raise RulesError(f"{where}: {said} stands on line {seen[key]} already; remove one of the two.")
            seen[key] = lines.line_num
            rows.append(row | {"row_no": len(rows) + 1, "line_no": lines.line_num})
    except csv.Error as error:
        raise RulesError(f"{place}, line {lines.line_num} cannot be read ({error}); check its quotes.") from None
    return rows


def _check_sites(folder: Path, rows: Rows) -> None:
    """A name stands for one kind, since campaigns name sites by it (utm_source=google)."""
    kinds: dict[str, str] = {}
    for row in rows:
        where = f"{folder.name}/sites.csv, line {row['line_no']}"
        if row["kind"] == "referral":
            continue
        if not row["name"]:
            raise RulesError(f"{where}: name is empty, but must be given for a {row['kind']} site.")
        row["name"] = row["name"].lower()
        first = kinds.setdefault(row["name"], row["kind"])
        if first != row["kind"]:
            raise RulesError(f"{where}: {row['name']} is a {first} site above and {row['kind']} here; use two names.")


def _check_bots(folder: Path, rows: Rows) -> None:
    for row in rows:
        where = f"{folder.name}/bots.csv, line {row['line_no']}"
        if (row["agent"] is None) == (row["network"] is None):
            raise RulesError(f"{where}: give agent or network, one of the two.")
        if not (row["agent"] or row["network"]).strip("*"):
            raise RulesError(f"{where}: '*' alone would make everybody a bot; say more.")
        # Events carry the /24 or /48 of an address only, so a whole address would never match.
        if row["network"] and not row["network"].endswith(("*", "/24", "/48")):
            raise RulesError(f"{where}: network must be a prefix such as 203.0.113.* or 2001:db8:1:*.")


def _check_conditions(warehouse: Warehouse, folder: Path, rows: Rows) -> None:
    # Texts and flags that are there, so that a wrong pattern shows now and not in a build.
    columns = ", ".join(f"cast('0' as {kind}) as {name}" for name, kind in cells.CONDITION_COLUMNS.items())
    for row in rows:
        where = f"{folder.name}/channels.csv, line {row['line_no']}"
        try:
            sql = f"select typeof(({row['condition']})), ({row['condition']}) from (select {columns})"
            found = warehouse.value(sql)
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise RulesError(f"{where}: the condition of {row['channel']} cannot be read: {said}") from None
        if found != "BOOLEAN":
            raise RulesError(f"{where}: the condition of {row['channel']} must be true or false, not {found}.")


def _replace(warehouse: Warehouse, name: str, table: RuleTable, rows: Rows) -> None:
    kept = ("row_no", *table.columns)
    columns = [
        "cast(row_no as integer) as row_no",
        *(f"cast({column} as {kind}) as {column}" for column, (kind, _) in table.columns.items()),
    ]
    columns += [f"{formula} as {column}" for column, formula in table.added.items()]
    with warehouse.frames(_rows=pl.DataFrame({column: [row[column] for row in rows] for column in kept})):
        warehouse.execute(f"create or replace table rules.{name} as select {', '.join(columns)} from _rows")
