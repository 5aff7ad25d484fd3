"""The steps on a home: one function each, called by the command line and by the DAGs alike.

What a step needs is imported when it runs, so that whoever only schedules it stays light.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from config import Config
    from ingest.source import Source
    from transforms.definitions import Definitions
    from warehouse import Warehouse

__version__ = "0.1.0"

OURS = {"config", "warehouse", "steps", "repair", "ingest", "transforms", "report", "demo", "footfall", "__main__"}

BUG = "This is a bug in footfall"
WORTH_IT = 0.25  # share of the warehouse that is free and is then given back
WAIT = timedelta(minutes=10)  # a schedule can wait longer than a person

log = logging.getLogger("footfall")

Progress = Callable[..., None]
Bar = Callable[[str, str], AbstractContextManager[Progress]]


class Failure(Exception):
    """The step cannot do what was asked; the message is the sentence to say."""


def no_bar(title: str, unit: str) -> AbstractContextManager[Progress]:  # noqa: ARG001
    """Progress that nobody sees, for where there is no terminal."""
    return nullcontext(lambda *_: None)


# Each step gives whether it found anything to do, and the sentence that says what it did. `bar` shows progress: called
# with a title and a unit, it gives a context whose value is called with (done, of), or (label, done, of) for models
# and tables.


def land(
    home: Path,
    settings: Config,
    warehouse: Warehouse,
    *,
    source: Literal["log", "kafka"] | None = None,
    bar: Bar = no_bar,
) -> tuple[bool, str]:
    """Bring what waits into raw.*, from Kafka where it is configured unless `source` says otherwise.

    Without Kafka, segments that are landed and old are let go. A warehouse that is older than what was published
    from it is said; landing brings back what its source still holds.
    """
    from ingest.from_log import FromLog, release
    from ingest.land import land as land_events

    began = time.monotonic()
    behind = step_back(warehouse, home)
    with bar("Landing", "events") as progress:
        done = land_events(
            warehouse,
            FromLog(home / "log") if (source or _default(settings)) == "log" else _from_kafka(home, settings),
            clock=now,
            dedup_hours=settings.land.dedup_hours,
            batch_events=settings.land.batch_events,
            progress=progress,
        )
    # With Kafka the forwarder lets segments go, once they are acknowledged there.
    gone = [] if settings.kafka else release(warehouse, home / "log", keep=settings.log.keep, now=now())
    text = (
        f"Landed {done.read_n:,} events: {done.new_n:,} new, {done.duplicate_n:,} repeated, "
        f"{done.rejected_n:,} rejected{_rate(done.read_n, began)}."
    )
    if done.hole_n:
        known = f"{done.gap_n:,} events or more" if done.gap_n else "Nobody knows how many events"
        text += f" {known} are missing, in {done.hole_n:,} gaps: see raw.gaps."
    if done.handed_on_n:
        text += f" {done.handed_on_n:,} segments went to Kafka before they had landed from the log; the rest of them "
        text += "lands from there: footfall land --from kafka."
    text += f" {len(gone)} segments of the log were let go." if gone else ""
    text += f"\n{behind} See what it lacks now: footfall doctor --repair --home {home}" if behind else ""
    return bool(done.read_n or done.hole_n or done.handed_on_n or gone or behind), text


def _default(settings: Config) -> Literal["log", "kafka"]:
    return "kafka" if settings.kafka else "log"


def _from_kafka(home: Path, settings: Config) -> Source:
    if not settings.kafka:
        raise Failure("There is no Kafka to land from: give bootstrap under [kafka] in footfall.toml, or --from log.")
    from ingest.from_kafka import FromKafka

    return FromKafka(settings.kafka.client(home), settings.kafka.topic, home / "log")


def build(
    home: Path,
    settings: Config,
    warehouse: Warehouse,
    *,
    full: bool = False,
    days: tuple[date | None, date | None] = (None, None),
    bar: Bar = no_bar,
) -> tuple[bool, str]:
    """Bring the models up to what has landed; `full`: all anew; `days`: those of first to last date anew."""
    from transforms.flow import build as build_models

    _check_range(full, days)
    key, began = installation_key(home), time.monotonic()
    with bar("Building", "models") as progress:
        done = build_models(
            warehouse,
            definitions(settings),
            key=key,
            now=now(),
            full=full,
            since=days[0],
            until=days[1],
            progress=progress,
        )
    if done is None:
        return False, f"Nothing to build: nothing has landed. Next: footfall land --home {home}"
    if not done.models:
        return False, "Nothing to build: the models are up to date."
    kept = (
        f"\nEvents landed before {done.kept_before:%Y-%m-%d} keep the facts that were made of them then: "
        "their payload has expired, so they cannot be made anew."
        if done.kept_before
        else ""
    )
    if done.moved:
        moves = [
            ", ".join(f"{counts[at]:,} {what}" for what, counts in done.moved.items() if counts[at]) + f" {now_are}"
            for at, now_are in enumerate(("are programs now", "are people now", "are programs by another rule"))
            if any(counts[at] for counts in done.moved.values())
        ]
        kept += f"\nThe rules for programs changed: {'; '.join(moves)}. By rule: Bots in the report, meta.bot_changes."
    slowest = max(done.models, key=lambda model: model[2])
    return bool(done.events_n or full or any(days)), (
        f"Built {len(done.models)} models from {done.events_n:,} events "
        f"in {time.monotonic() - began:.1f} s "
        f"(longest: {slowest[0]}, {slowest[2]:.1f} s); complete up to {done.horizon:%Y-%m-%d %H:%M} UTC.{kept}"
    )


def preview(
    home: Path,
    settings: Config,
    warehouse: Warehouse,
    *,
    full: bool = False,
    days: tuple[date | None, date | None] = (None, None),
    bar: Bar = no_bar,  # noqa: ARG001
) -> tuple[bool, str]:
    """Say what `build` with the same words would do; change nothing."""
    from transforms.flow import preview as preview_models

    _check_range(full, days)
    found = preview_models(
        warehouse,
        definitions(settings),
        key=installation_key(home),
        now=now(),
        full=full,
        since=days[0],
        until=days[1],
    )
    if found is None:
        return False, f"Nothing to build: nothing has landed. Next: footfall land --home {home}"
    lines = [f"{found.events_n:,} new events."]
    lines += [f"Made all anew: {', '.join(found.whole)}."] if found.whole else []
    lines += [f"Looked at again beside them: {count:,} {kind}s." for kind, count in sorted(found.marked.items())]
    if found.dates:
        lines.append(f"Dates: {len(found.dates)}, from {found.dates[0]} to {found.dates[-1]}.")
    return False, "\n".join([*lines, "Nothing was changed."])


def publish(home: Path, settings: Config, warehouse: Warehouse, *, bar: Bar = no_bar) -> tuple[bool, str]:
    """Write bi.duckdb and the Parquet files anew, if anything changed."""
    from transforms.publish import publish as publish_tables

    with bar("Publishing", "tables") as progress:
        done = publish_tables(
            warehouse,
            home,
            definitions(settings),
            events_days=settings.publish.events_days,
            version=__version__,
            now=now(),
            progress=progress,
        )
    if not done.changed:
        return False, "Nothing changed since the last publishing."
    return True, (
        f"Published {done.tables_n} tables with {done.rows_n:,} rows to {home / 'bi.duckdb'} in {done.seconds:.1f} s."
    )


def expire(home: Path, settings: Config, warehouse: Warehouse, *, bar: Bar = no_bar) -> tuple[bool, str]:  # noqa: ARG001
    """Forget what clients sent word for word longer ago than `keep_payload`."""
    from ingest.expire import expire as expire_payloads

    done = expire_payloads(warehouse, keep=settings.land.keep_payload, now=now())
    return bool(done.event_n or done.rejected_n), (
        f"The payload of {done.event_n:,} events and {done.rejected_n:,} rejected pieces, landed before "
        f"{done.before:%Y-%m-%d %H:%M} UTC, was let go."
    )


def tidy(home: Path, settings: Config, warehouse: Warehouse, *, bar: Bar = no_bar) -> tuple[bool, str]:  # noqa: ARG001
    """Remove what killed steps left behind, and let go of segments that are landed and old."""
    from ingest.from_log import release
    from transforms.publish import remove_scratch
    from warehouse import remove_scratch as remove_copies

    gone = [] if settings.kafka else release(warehouse, home / "log", keep=settings.log.keep, now=now())
    # Whoever holds the warehouse is the only one at work in the home.
    remove_scratch(home)
    remove_copies(home / "warehouse.duckdb")
    return bool(gone), f"{len(gone):,} segments of the log were let go; scratch files are gone."


def compact(home: Path, settings: Config, warehouse: Warehouse, *, bar: Bar = no_bar) -> tuple[bool, str]:  # noqa: ARG001
    """Give the warehouse's free bytes back to the disk, where they are worth it; ends the use of `warehouse`."""
    warehouse.checkpoint()
    share = warehouse.free_share()
    if share < WORTH_IT:
        return False, f"{share:.0%} of the warehouse is free: too little to give back."
    before, after = warehouse.compact()
    return True, f"The warehouse went from {before / 2**20:,.1f} to {after / 2**20:,.1f} MiB."


def scheduled(home: str, step: Callable[..., tuple[bool, str]], **words: Any) -> bool:
    """Run a step as a task of a scheduler: log what it did and how long; whether it changed anything.

    Waits WAIT for whoever holds the warehouse. What a person can mend ends the process with the sentence that
    says how, in place of a traceback.
    """
    began = time.monotonic()
    try:
        path = Path(home)
        if not path.is_absolute():
            raise Failure(
                f'The home "{home}" is not the whole path of a folder. Set FOOTFALL_HOME where Airflow runs, '
                'or give the parameter "home".'
            )
        settings = load_settings(path)
        with opened(path, settings, wait=WAIT) as warehouse:
            waited = time.monotonic() - began
            changed, text = step(path, settings, warehouse, **words)
    except Exception as error:
        log.error(complaint(error))
        if is_bug(error):
            raise
        raise SystemExit(1) from None
    for line in text.splitlines():
        log.info(line)
    log.info("%s took %.1f s, %.1f s of them to open the warehouse.", path, time.monotonic() - began, waited)
    return changed


# --- what steps need --------------------------------------------------------------------------------------


def now() -> datetime:
    return datetime.now(UTC)


def load_settings(home: Path) -> Config:
    """The settings of a home, with what the environment says."""
    import config

    return config.load(home, os.environ)


def definitions(settings: Config) -> Definitions:
    import msgspec

    from transforms.definitions import Definitions

    return msgspec.convert(settings.definitions(), Definitions)


def installation_key(home: Path) -> bytes:
    """The installation's key: 32 bytes."""
    path = home / "secret.key"
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        raise Failure(
            f"There is no {path}. Restore it from a backup: with a new key all persons would get new ids. "
            f"If there are none to keep, make one: footfall init --home {home}"
        ) from None
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Failure(f"{path} must hold 64 hexadecimal digits. Restore it from a backup.")
    return key


@contextmanager
def opened(home: Path, settings: Config, *, wait: timedelta | None = None) -> Iterator[Warehouse]:
    """The warehouse of a home while the block runs; waits for whoever holds it, by default as the settings say."""
    from warehouse import open_warehouse

    limits = settings.warehouse
    warehouse = open_warehouse(
        home / "warehouse.duckdb",
        wait_s=(wait or limits.wait).total_seconds(),
        memory_limit=limits.memory_limit,
        threads=limits.threads,
    )
    try:
        yield warehouse
    finally:
        warehouse.close()


def step_back(warehouse: Warehouse, home: Path) -> str | None:
    """A sentence when the warehouse is older than what was published from it; else None."""
    found = published(home, "select build_id, landed_to from meta.build_info")
    if not found:
        return None
    build_id, landed_to = found[0]
    last = warehouse.value("select coalesce(max(landing_id), 0) from raw.landings")
    built = warehouse.value("select coalesce(max(build_id), 0) from meta.builds where finished_at is not null")
    if last >= landed_to and built >= build_id:
        return None
    return (
        f"The warehouse is older than {home / 'bi.duckdb'}: it holds landings up to {last} and builds up to {built}, "
        f"published are {landed_to} and {build_id}. Its write-ahead file was lost, or a backup was put back."
    )


def published(home: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the published file; none where there is no such file, or none that can be read."""
    import duckdb

    path = home / "bi.duckdb"
    if not path.exists():
        return []
    try:
        with duckdb.connect(str(path), read_only=True) as con:
            rows: list[tuple[Any, ...]] = con.execute(query).fetchall()
            return rows
    except duckdb.Error:
        return []


def is_bug(error: Exception) -> bool:
    """Whether nobody but a programmer can mend it."""
    return complaint(error).startswith(BUG)


def complaint(error: Exception) -> str:
    """The sentence to say of an error."""
    # An exception that our own code defines carries a sentence for people.
    if type(error).__module__.partition(".")[0] in OURS:
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'}: {error.strerror}."
    lines = str(error).splitlines() or [""]
    if type(error).__name__ == "OutOfMemoryException":
        return f"There is too little memory: {lines[0]}. Free some, or raise memory_limit under [warehouse]."
    if isinstance(error, MemoryError) or "can't start new thread" in lines[0]:
        return (
            "There is too little memory for this process. Free some, or raise what limits it (ulimit -v, a container's "
            "limit); a smaller memory_limit under [warehouse] and batch_events under [land] need less."
        )
    if type(error).__module__.endswith("duckdb") and type(error).__name__ == "IOException":
        return f"DuckDB cannot read or write its file: {lines[0]}. Free space on its disk, then run this again."
    return (
        f"{BUG} {__version__}: {type(error).__name__}: {lines[0]}\n"
        "Please report it with what FOOTFALL_DEBUG=1 shows when you run the command again."
    )


def _check_range(full: bool, days: tuple[date | None, date | None]) -> None:
    if full and any(days):
        raise Failure("--full makes all dates anew: leave out --since and --until, or --full.")
    if days[0] and days[1] and days[0] > days[1]:
        raise Failure(f"--since {days[0]} must not lie behind --until {days[1]}.")


def _rate(count: int, began: float) -> str:
    seconds = time.monotonic() - began
    return f" in {seconds:.1f} s ({count / seconds:,.0f}/s)" if count >= 1000 else ""
