"""Publishing: the tables that others may read, as one DuckDB file and as Parquet by date."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from transforms import patterns, plan
from transforms.definitions import Definitions, PlannedEvent
from transforms.run import date_column
from warehouse import Table, Warehouse, tables

# Readers from DuckDB 1.2 on open this format.
STORAGE_VERSION = "v1.2.0"
SCRATCH = ".new"
INTERNAL = frozenset({"meta.dirty", "meta.whole", "meta.builds", "meta.steps", "meta.changed", "meta.publications"})
# What stands for raw identifiers, or is a step on the way, stays at home.
UNPUBLISHED = INTERNAL | {
    "core.identities",
    "core.devices",
    "core.users",
    "core.agents",
    "core.identity_edges",
    "core.placements",
    "core.pages",
    "core.pointer",
    "core.scrolls",
    "core.outlines",
    "core.page_views",
    "core.signals",
    "core.friction",
    "marts.retention_entries",
    "marts.lifecycle_states",
}
EVENT_COLUMNS = (
    "event_id, source, type, name, event_at, ts_rule, date, received_at, host, path, referrer_host, utm_source, "
    "utm_medium, utm_campaign, country, is_page, is_bearing, is_bot, bot_kind, bot_rule"
)
# An alias call names the device that it ties to a customer: that id stays at home.
PUBLIC_PROPERTIES = """case
    when e.type <> 'track' and json_exists(e.properties, '$.previous_id')
        then json_merge_patch(e.properties, '{"previous_id": null}')
    else e.properties
end as properties"""
EVENTS = f"""
select {", ".join(f"e.{name}" for name in EVENT_COLUMNS.split(", "))}, {PUBLIC_PROPERTIES},
    p.engaged_ms, p.person_id, s.session_id
from core.events as e
inner join core.placements as p on e.event_no = p.event_no and e.date = p.date
left join core.sessions as s on p.session_no = s.session_no
"""
LOCAL_DATE = "cast(timezone($timezone, timezone('UTC', horizon)) as date)"  # of a horizon
# Of these bi.duckdb holds only the last days before the horizon.
LAST_DAYS = frozenset({"core.events", "core.sessions"})
# Whether no new local date has come since the build `last`, and no build since made everything anew.
IS_SAME_DATE = f"""
select count(*) = 0 from meta.builds
where
    build_id > $last
    and (
        is_full
        or {LOCAL_DATE} is distinct from (select any_value({LOCAL_DATE}) from meta.builds where build_id = $last)
    )
"""
# Rows that were replaced leave free blocks behind; with more than this share of them the file is made whole.
FREE_SHARE = "select free_blocks / total_blocks from pragma_database_size() where database_name = 'bi'"
MOST_FREE = 0.5
# Rows a date: with more, each date written alone takes half the time and a third of the memory; with few, three times.
MANY = 10_000
HIDDEN = {
    "core.sessions": {"session_no", "device_id"},
    "core.orders": {"event_no", "seq"},
    "core.ad_spend": {"event_no"},
    "core.violations": {"event_no"},
    "marts.attribution_touches": {"event_no"},
}
ADDED = {
    "core.events": {
        "engaged_ms": "visible and focused milliseconds that it reports, at most the time since the last report",
        "person_id": "whose it is, a keyed hash; null: it names nobody",
        "session_id": "the session that holds it; null: in none",
    }
}


class PublishError(Exception):
    """Nothing was published; the message says why and how to mend it."""


@dataclass(frozen=True)
class Published:
    """What a publication did; `changed` is False when the last one still holds."""

    changed: bool
    build_id: int
    tables_n: int
    rows_n: int
    seconds: float


def publish(
    warehouse: Warehouse,
    home: Path,
    definitions: Definitions,
    *,
    events_days: int,
    version: str,
    now: datetime,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Published:
    """Write the finished build to `home`/bi.duckdb, swapped in with one rename, and to `home`/marts as Parquet.

    Of core.events and core.sessions bi.duckdb holds the last `events_days` local dates up to the horizon; Parquet
    holds all. Only what changed is written: Parquet files of changed dates, and in a copy of the last bi.duckdb the
    rows of changed dates; a new bi.duckdb is made whole on a new local date, after `build --full`, and wherever the
    last one does not fit. Does nothing when nothing changed since the last publication by this `version` and with
    these settings. Raises PublishError when no build is finished.
    """
    started = time.perf_counter()
    build_id = warehouse.value("select max(build_id) from meta.builds where finished_at is not null")
    if warehouse.value("select count(*) from meta.builds where finished_at is null"):
        raise PublishError("A build was interrupted, so nothing is published: finish it first with 'footfall build'.")
    if build_id is None:
        raise PublishError(
            "There is nothing to publish yet: land events first ('footfall land'), then 'footfall build'."
        )
    bi = home / "bi.duckdb"
    published = [table for table in tables().values() if table.schema != "raw" and table.full_name not in UNPUBLISHED]
    settings = f"{version}, {events_days} days, {definitions.site}, {_shape(published, definitions.events)}"
    last = warehouse.execute("select build_id, settings from meta.publications order by build_id desc limit 1")
    is_changed = warehouse.value("select count(*) from meta.changed") > 0
    if last and last[0][1] == settings and bi.exists() and not is_changed:
        return Published(False, last[0][0], 0, 0, time.perf_counter() - started)
    values = {
        "build_id": build_id,
        "build": build_id,
        "version": version,
        "site_name": definitions.site.name,
        "timezone": definitions.site.timezone,
        "currency": definitions.site.currency,
    }
    last_date = warehouse.value(f"select {LOCAL_DATE} from meta.builds where build_id = $build", values)
    since = last_date - timedelta(days=events_days - 1)
    _describe(warehouse, published, definitions, values)
    is_same = bool(last) and last[0][1] == settings
    before = (
        last[0][0]
        if is_same and bi.exists() and warehouse.value(IS_SAME_DATE, {**values, "last": last[0][0]})
        else None
    )
    whole = not is_same or not (home / "marts").exists()
    remove_scratch(home)
    # Both only read, so they go on side by side; the Parquet files take their places when both are on the disk.
    with ThreadPoolExecutor(1) as beside:
        reader = Warehouse(warehouse.con.cursor(), warehouse.path)
        parquet = beside.submit(_write_parquet, reader, home / "marts", published, whole=whole)
        rows = _write_file(warehouse, bi, published, definitions.events, since, before, progress)
        swaps = parquet.result()
        reader.close()
    for new, place in swaps:
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        if new.exists():
            new.replace(place)
    shutil.rmtree(home / "marts" / SCRATCH)
    # Noted last: after a crash before this, the next publication does it all again.
    with warehouse.transaction():
        warehouse.execute("delete from meta.changed")
        warehouse.execute("delete from meta.publications where build_id = $build", {"build": build_id})
        warehouse.execute(
            "insert into meta.publications select $build, $now, $settings",
            {"build": build_id, "now": now, "settings": settings},
        )
    return Published(True, build_id, len(published), rows, time.perf_counter() - started)


def remove_scratch(home: Path) -> None:
    """Remove what a killed publication left behind; no other may be at work."""
    for leftover in home.glob("bi.duckdb.new*"):
        leftover.unlink()
    shutil.rmtree(home / "marts" / SCRATCH, ignore_errors=True)


def _describe(
    warehouse: Warehouse, published: list[Table], definitions: Definitions, values: dict[str, object]
) -> None:
    """Fill meta.build_info, meta.definitions, meta.quality and meta.data_dictionary."""
    landed_to = warehouse.value("select landed_to from meta.builds where build_id = $build", values)
    with warehouse.transaction():
        patterns.check(warehouse, definitions)
        for name in ("meta.build_info", "meta.quality"):
            warehouse.execute(f"delete from {name}")
            warehouse.insert(name, {**values, "landed_to": landed_to})
        warehouse.execute("delete from meta.data_dictionary")
        rows = []
        for table in published:
            described = [("", "", table.header["grain"]), *_columns(warehouse, table)]
            rows += [(table.schema, table.name, *column) for column in described]
        for event in definitions.events:
            query, comments = plan.view(event)
            types = dict(row[:2] for row in warehouse.execute(f"describe {_over_published(query)}"))
            rows.append(("marts", event.view, "", "", _about_view(event)))
            rows += [("marts", event.view, name, types[name], said) for name, said in comments.items()]
        warehouse.insert_frame(
            "meta.data_dictionary",
            pl.DataFrame(rows, schema=warehouse.columns("meta.data_dictionary"), orient="row"),
        )


def _columns(warehouse: Warehouse, table: Table) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each column as published."""
    comments = {column.name: column.comment for column in table.columns} | ADDED.get(table.full_name, {})
    shape = warehouse.execute(f"describe {_select(table)}")
    return [(row[0], row[1], comments[row[0]]) for row in shape]


def _select(table: Table) -> str:
    """The query that gives a table's published columns, all its rows."""
    if table.full_name == "core.events":
        return EVENTS
    hidden = HIDDEN.get(table.full_name)
    chosen = ", ".join(column.name for column in table.columns if column.name not in (hidden or ()))
    return f"select {chosen} from {table.full_name}"


def _shape(published: list[Table], planned: Sequence[PlannedEvent]) -> str:
    """A hash of what is published of each table and view: a file of another shape is no base for the next."""
    queries = [*map(_select, published), *(f"{event.view} {plan.view(event)[0]}" for event in planned)]
    return hashlib.sha256("\n".join(queries).encode()).hexdigest()[:8]


def _write_file(
    warehouse: Warehouse,
    bi: Path,
    published: list[Table],
    planned: Sequence[PlannedEvent],
    since: date,
    before: int | None,
    progress: Callable[[str, int, int], None],
) -> int:
    """Write a new bi.duckdb beside the old one and swap it in; how many rows were written.

    Of LAST_DAYS it holds the dates from `since` on. `before` is the build that the old one holds and that the new one
    may go on from; None: it is made whole.
    """
    new = bi.with_name(f"bi.duckdb.new-{os.getpid()}")
    if before is not None:
        shutil.copyfile(bi, new)
    if before is None or not _attach(warehouse, new, before):
        before = None
        new.unlink(missing_ok=True)
        warehouse.execute(f"attach {_quoted(str(new))} as bi (storage_version '{STORAGE_VERSION}')")
        for schema in ("core", "marts", "meta"):
            warehouse.execute(f"create schema bi.{schema}")
    rows = 0
    try:
        for number, table in enumerate(published):
            progress(table.full_name, number, len(published))
            write = _make_table if before is None else _renew_table
            # The date is a constant, so that earlier ones are not read.
            rows += write(warehouse, table, f"date >= date '{since}'" if table.full_name in LAST_DAYS else "true")
        if before is None:
            for event in planned:
                _make_view(warehouse, event)
        warehouse.execute("checkpoint bi")
    finally:
        warehouse.execute("detach bi")
    _sync(new)
    new.chmod(0o640)
    new.replace(bi)
    _sync(bi.parent)
    progress("", len(published), len(published))
    return rows


def _attach(warehouse: Warehouse, copy: Path, build_id: int) -> bool:
    """Attach a copy of the last bi.duckdb as `bi`, if it can be read, holds that build and is not mostly empty."""
    try:
        warehouse.execute(f"attach {_quoted(str(copy))} as bi")
    except duckdb.Error:
        return False
    try:
        is_last = warehouse.execute("select build_id from bi.meta.build_info") == [(build_id,)]
        if is_last and warehouse.value(FREE_SHARE) < MOST_FREE:
            return True
    except duckdb.Error:
        pass
    warehouse.execute("detach bi")
    return False


def _make_table(warehouse: Warehouse, table: Table, scope: str) -> int:
    """Make a table of `bi` with its comments and the rows that `scope` selects; how many these are."""
    query = f"select * from ({_select(table)}) where {scope}"
    made = warehouse.execute(f"create table bi.{table.full_name} as {query}")
    _comment(warehouse, table)
    return int(made[0][0])


def _renew_table(warehouse: Warehouse, table: Table, scope: str) -> int:
    """Bring the changed dates of a table of `bi` to what they are now, or all of it if it goes by no date."""
    changed = _changed_dates(warehouse, table)
    if table.schema != "meta" and not changed:
        return 0
    column = date_column(warehouse, table.full_name)
    renewed = "true" if table.schema == "meta" or column is None else _is_among(column, changed)
    warehouse.execute(f"delete from bi.{table.full_name} where {renewed}")
    made = warehouse.execute(
        f"insert into bi.{table.full_name} by name select * from ({_select(table)}) where {renewed} and {scope}"
    )
    return int(made[0][0])


def _make_view(warehouse: Warehouse, event: PlannedEvent) -> None:
    """Make the typed view of a planned event in `bi`, with its comments."""
    query, comments = plan.view(event)
    warehouse.execute(f"create view bi.marts.{event.view} as {query}")
    warehouse.execute(f"comment on view bi.marts.{event.view} is {_quoted(_about_view(event))}")
    for name, comment in comments.items():
        warehouse.execute(f'comment on column bi.marts.{event.view}."{name}" is {_quoted(comment)}')


def _about_view(event: PlannedEvent) -> str:
    return f'one row per event "{event.name}" of the last days, with its planned properties'


def _over_published(query: str) -> str:
    """The query of a view, over core.events as it will be published."""
    return query.replace("from core.events as e", f"from ({EVENTS}) as e")


def _changed_dates(warehouse: Warehouse, table: Table) -> list[date | None]:
    """The dates of a published table that changed; for one without dates, a single None if it did."""
    noted_as = "core.placements" if table.full_name == "core.events" else table.full_name
    query = "select date from meta.changed where table_name = $name order by date"
    return [row[0] for row in warehouse.execute(query, {"name": noted_as})]


def _is_among(column: str, dates: list[date | None]) -> str:
    """The condition of rows of these dates; null is none.

    They stand in it one by one, since DuckDB then passes over the row groups that hold no such date.
    """
    named = ", ".join(f"date '{each}'" for each in dates if each)
    return f"{column} in ({named})" if named else "false"


def _comment(warehouse: Warehouse, table: Table) -> None:
    """Say on the published table and on each of its columns what they mean."""

    about = f"{table.header['grain']}. Surprising: {table.header['surprising row']}"
    with warehouse.transaction():  # each alone would wait for the disk
        warehouse.execute(f"comment on table bi.{table.full_name} is {_quoted(about)}")
        for name, _, comment in _columns(warehouse, table):
            warehouse.execute(f'comment on column bi.{table.full_name}."{name}" is {_quoted(comment)}')


def _write_parquet(
    warehouse: Warehouse, folder: Path, published: list[Table], *, whole: bool
) -> list[tuple[Path, Path]]:
    """Write the Parquet files of what changed beside their places: each new folder, and the place that it takes.

    A place is `folder`/<schema>/<table>/[<date column>=<date>/]; without a new folder it is only cleared.
    """
    scratch = folder / SCRATCH
    scratch.mkdir(parents=True)
    swaps: list[tuple[Path, Path]] = []
    for table in published:
        column = date_column(warehouse, table.full_name)
        place, new = folder / table.schema / table.name, scratch / table.schema / table.name
        new.parent.mkdir(parents=True, exist_ok=True)
        changed = _changed_dates(warehouse, table)
        if not (whole or table.schema == "meta" or changed):
            continue
        if table.schema == "meta" or column is None:
            new.mkdir()
            _copy(warehouse, _select(table), new / "data.parquet", "")
            swaps.append((new, place))
            continue
        _copy_by_date(warehouse, table, column, "true" if whole else _is_among(column, changed), new)
        if whole:
            swaps.append((new, place))
            continue
        parts = [f"{column}={each}" for each in changed if each]
        swaps += [(new / part, place / part) for part in parts]
    os.sync()  # one call for all files
    return swaps


def _copy_by_date(warehouse: Warehouse, table: Table, column: str, scope: str, new: Path) -> None:
    """Write the rows that `scope` selects, each date into a folder of its own: `new`/<column>=<date>/."""
    rows = dict(warehouse.execute(f"select {column}, count(*) from {table.full_name} where {scope} group by 1"))
    if sum(rows.values()) < MANY * len(rows):
        by_date = f", partition_by ({column}), write_partition_columns true, filename_pattern 'data_{{i}}'"
        _copy(warehouse, f"select * from ({_select(table)}) where {scope}", new, by_date)
        return
    for each in rows:
        folder = new / f"{column}={each}"
        folder.mkdir(parents=True)
        query = f"select * from ({_select(table)}) where {column} = date '{each}'"
        _copy(warehouse, query, folder / "data_0.parquet", "")


def _copy(warehouse: Warehouse, query: str, path: Path, options: str) -> None:
    warehouse.execute(f"copy ({query}) to {_quoted(str(path))} (format parquet{options})")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _sync(path: Path) -> None:
    """Bring a file's or a folder's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
