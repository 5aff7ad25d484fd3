"""After damage: what is broken in a home, and how it is set aside and read again. Nothing is ever deleted.

What cannot be used any more goes to `set-aside/` in the home, under its name and the time. Rows and positions
of a warehouse go back together, so landing again from the log or Kafka brings what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import steps
from ingest import log
from warehouse import DamagedWal, Warehouse, WarehouseError

if TYPE_CHECKING:
    from config import Config

ASIDE = "set-aside"
NAMED = 20


def repair(home: Path, settings: Config, *, now: datetime, bar: steps.Bar = steps.no_bar) -> Iterator[str]:
    """Mend what can be mended in a home, one sentence a finding; none when nothing is broken.

    Sets aside a write-ahead file that DuckDB refuses, lands again what a warehouse lost with it (or had not
    yet when it was put back), builds and publishes where the published is newer, and sets aside damaged
    segments once what can be read of them has landed. Raises WarehouseError when the warehouse itself cannot
    be opened: that needs a backup or a new one.
    """
    path = home / "warehouse.duckdb"
    damaged = damaged_segments(home / "log", bar=bar)
    is_behind = False
    if path.exists():
        try:
            with steps.opened(home, settings):
                pass
        except DamagedWal as error:
            is_behind = True
            aside = _set_aside(home, [error.wal], now)
            yield f"{error.wal.name} is damaged ({error.why}): set aside as {aside[0]}. Rows and positions went back."
    if not path.exists() and not damaged:
        return
    with steps.opened(home, settings) as warehouse:
        behind = steps.step_back(warehouse, home)
        if behind:
            yield behind
        if behind or is_behind:
            # Its first line: the second would say again how far behind the warehouse is.
            yield steps.land(home, settings, warehouse, bar=bar)[1].splitlines()[0]
        if damaged:
            # Also with Kafka: what can be read of a segment that is set aside must be somewhere first.
            yield steps.land(home, settings, warehouse, source="log", bar=bar)[1]
        if behind or is_behind:
            yield from _compare(warehouse, home, now)
        yield from _set_segments_aside(warehouse, home, damaged, now)
        if behind:
            # What is published comes from builds that this warehouse does not know: nothing of it is kept on.
            warehouse.execute("delete from meta.publications")
            yield steps.build(home, settings, warehouse, bar=bar)[1]
            yield steps.publish(home, settings, warehouse, bar=bar)[1]


def damaged_segments(folder: Path, *, bar: steps.Bar = steps.no_bar) -> dict[log.Segment, list[log.Chunk]]:
    """The closed segments that cannot be read whole, with their damaged chunks. Reads all of the log."""
    found = {}
    segments = [segment for segment in log.segments(folder) if segment.is_closed()]
    with bar("Reading", "segments") as progress:
        for number, segment in enumerate(segments):
            progress(number, len(segments))
            chunks = [chunk for chunk in segment.chunks(0) if chunk.damage]
            if chunks:
                found[segment] = chunks
    return found


def describe(segment: log.Segment, chunks: list[log.Chunk]) -> str:
    """What is missing of a damaged segment: sequence numbers, events and times, as far as they are known."""
    first, last = chunks[0].sequence, chunks[-1].sequence
    places = f"chunk {first}" if first == last else f"{len(chunks)} chunks from {first} to {last}"
    counts = [chunk.event_n for chunk in chunks]
    events = f"{sum(n or 0 for n in counts):,} events" if None not in counts else "an unknown number of events"
    since = min((chunk.first_received_at for chunk in chunks if chunk.first_received_at), default=None)
    until = max((chunk.last_received_at for chunk in chunks if chunk.last_received_at), default=None)
    times = f" received {since:%Y-%m-%d %H:%M:%S} to {until:%H:%M:%S} UTC" if since and until else ""
    return f"The segment {segment.name} is damaged: {places} cannot be read, {events}{times}"


def _set_segments_aside(
    warehouse: Warehouse, home: Path, damaged: dict[log.Segment, list[log.Chunk]], now: datetime
) -> Iterator[str]:
    done = {part for (part,) in warehouse.execute("select part from raw.positions where topic = 'log' and is_done")}
    for segment, chunks in damaged.items():
        text = describe(segment, chunks)
        if segment.name in done:
            aside = _set_aside(home, log.files(segment), now)
            yield f"{text}. What can be read of it has landed; it is set aside as {aside[0]}."
        else:
            yield f"{text}. It stays in its place: it has not been read to its end yet."


def _compare(warehouse: Warehouse, home: Path, now: datetime) -> Iterator[str]:
    """Which published events the warehouse lacks after landing again."""
    bi = home / "bi.duckdb"
    ids = steps.published(home, "select source, event_id from core.events")
    if not ids:
        return
    held = set(warehouse.execute("select distinct source, event_id from raw.events"))
    missing = sorted(str(event_id) for source, event_id in set(ids) - held)
    if not missing:
        yield f"Of the {len(ids):,} events in {bi} none is missing."
        return
    aside = _set_aside(home, [bi], now)
    more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    yield (
        f"{len(missing):,} published events are neither in the warehouse nor where it reads from: "
        f"{', '.join(missing[:NAMED])}{more}. What was published of them is kept in {aside[0]}."
    )


def _set_aside(home: Path, paths: list[Path], now: datetime) -> list[Path]:
    folder = home / ASIDE
    folder.mkdir(mode=0o700, exist_ok=True)
    placed = []
    for path in paths:
        if path.exists():
            placed.append(path.rename(folder / f"{path.name}-{now:%Y%m%dT%H%M%S}"))
    if not placed:
        raise WarehouseError(f"{paths[0]} vanished meanwhile. Run doctor again.")
    return placed
