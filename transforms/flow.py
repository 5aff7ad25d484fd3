"""The flow: the ordered list of models, what a build has to look at again, and how it goes on after a crash."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec

from transforms import (
    agents,
    attribution,
    bots,
    events,
    friction,
    funnel_model,
    heatmaps,
    journey_model,
    lifecycle,
    orders,
    persons,
    placements,
    plan,
    retention_model,
    rules,
    samples,
    scroll,
    traffic,
)
from transforms.definitions import Definitions
from transforms.run import Run, as_key
from warehouse import SQL, Warehouse, tables

__all__ = ["Built", "Preview", "build", "preview"]


# Windows of funnels end at any minute; without new events they are looked at no more often than this.
PATIENCE = timedelta(hours=1)

KEPT_BUILDS = 1000


@dataclass(frozen=True)
class Model:
    """One step of a build: the tables it fills, what in the definitions it depends on, and which models before it.

    A change of its definition, of its SQL or of a model that it needs makes all its rows anew.
    """

    name: str
    tables: tuple[str, ...]
    needs: tuple[str, ...]
    definition: Callable[[Definitions], object]
    rebuild: Callable[[Run], int]


MODELS = (
    Model(
        "events",
        ("core.events", "core.devices", "core.users", "core.agents", "core.identity_edges"),
        (),
        lambda d: (
            d.site.timezone,
            d.site.hosts,
            d.site.ignore_referrers,
            d.pages,
            d.identity.id_blocklist,
            d.bots,
            d.sessions.ignore,
        ),
        events.append,
    ),
    Model(
        "placements",
        ("core.placements", "core.sessions", "core.identities"),
        ("events",),
        lambda d: (d.sessions, d.identity, d.site.key_events),
        placements.place,
    ),
    Model(
        "orders",
        ("core.orders", "core.order_lines", "core.refunds"),
        ("placements",),
        lambda d: (d.site.currency, d.site.revenue_includes),
        orders.settle,
    ),
    Model("persons", ("core.persons",), ("placements", "orders"), lambda _: None, persons.know),
    Model(
        "traffic",
        ("core.visitor_days", "marts.traffic_daily", "marts.bots_daily", "marts.traffic_totals"),
        ("placements", "orders", "persons"),
        lambda d: d.site.timezone,
        traffic.count,
    ),
    Model(
        "funnels",
        ("marts.funnel_attempts", "marts.funnel_steps"),
        ("placements",),
        lambda d: d.funnels,
        funnel_model.fill,
    ),
    Model(
        "journeys",
        ("marts.journey_edges", "marts.journey_paths"),
        ("placements",),
        lambda d: d.journeys,
        journey_model.fill,
    ),
    Model(
        "retention",
        ("marts.retention_entries", "marts.retention_cells"),
        ("placements",),
        lambda d: d.retentions,
        retention_model.fill,
    ),
    Model(
        "lifecycle",
        ("marts.lifecycle_states", "marts.lifecycle"),
        ("placements",),
        lambda d: (d.site.timezone, d.lifecycle),
        lifecycle.fill,
    ),
    Model(
        "attribution",
        (
            "core.ad_spend",
            "marts.attribution_touches",
            "marts.attribution_runs",
            "marts.attribution",
            "marts.attribution_paths",
        ),
        ("placements", "orders"),
        lambda d: (d.site, d.attribution),
        attribution.fill,
    ),
    Model("plan", ("core.violations",), ("events",), lambda d: d.events, plan.check),
    Model(
        "samples",
        ("core.pages", "core.pointer", "core.scrolls"),
        ("events", "placements"),
        lambda _: None,
        samples.append,
    ),
    Model(
        "heatmaps",
        (
            "marts.heatmap_cells",
            "marts.heatmap_pages",
            "marts.heatmap_element_cells",
            "core.outlines",
            "marts.page_outlines",
        ),
        ("samples", "placements"),
        lambda d: d.site.timezone,
        heatmaps.draw,
    ),
    Model(
        "scroll",
        ("core.page_views", "marts.scroll_reach", "marts.scroll_pages"),
        ("samples", "placements"),
        lambda d: (d.site.timezone, scroll.GLIMPSES),
        scroll.measure,
    ),
    Model(
        "friction",
        ("core.signals", "core.friction", "marts.friction_pages", "marts.heatmap_elements"),
        ("samples", "placements", "scroll"),
        lambda d: (d.site.timezone, d.friction),
        friction.find,
    ),
)


@dataclass(frozen=True)
class Built:
    """What a build did: events that were new, and for each model its rows written and seconds.

    `kept_before`: all events were made anew, but not those landed before this moment, whose payload has expired.
    `moved`: where the rules for programs changed, how many events, sessions and visitors are programs now, people now,
    and programs by another rule.
    """

    build_id: int
    events_n: int
    horizon: datetime
    models: tuple[tuple[str, int, float], ...]
    kept_before: datetime | None = None
    moved: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """What a build would do: new events, models made all anew, what is marked beside the new events, and the dates."""

    events_n: int
    whole: tuple[str, ...]
    marked: dict[str, int]
    dates: tuple[date, ...]


def preview(
    warehouse: Warehouse,
    definitions: Definitions,
    *,
    key: bytes,
    now: datetime,
    full: bool = False,
    since: date | None = None,
    until: date | None = None,
    rules_folder: Path = SQL / "0_rules",
) -> Preview | None:
    """What `build` with the same arguments would do; changes nothing. None when nothing has landed."""
    hashes = _hashes(definitions, rules.load(warehouse, rules_folder) + agents.lists())
    found: Preview | None = None
    with suppress(_Undo), warehouse.transaction():
        run = _plan(warehouse, definitions, key, hashes, lambda *_: None, now=now, full=full, since=since, until=until)
        if run is not None:
            found = _looked_at(run)
        raise _Undo
    return found


class _Undo(Exception):
    """Ends a transaction without keeping it."""


def _looked_at(run: Run) -> Preview:
    warehouse, build_id = run.warehouse, {"id": run.build_id}
    whole = warehouse.execute("select model from meta.whole where build_id = $id", build_id)
    marked = warehouse.execute(
        "select kind, count(*) from meta.dirty where build_id = $id and kind not in ('ripe', 'again') group by kind",
        build_id,
    )
    # Dates of new events as their clients say: the correction of their clocks is part of the build.
    dates = warehouse.execute(
        """
        select distinct cast(timezone($timezone, timezone('UTC', occurred_at)) as date) as date
        from raw.events
        where event_no > $after and event_no <= $upto
        union
        select date '1970-01-01' + cast(key as integer) from meta.dirty where build_id = $id and kind = 'date'
        order by 1
        """,
        {**build_id, "after": run.after, "upto": run.upto, "timezone": run.definitions.site.timezone},
    )
    return Preview(
        _new_events(run),
        tuple(model.name for model in MODELS if (model.name,) in whole),
        dict(marked),
        tuple(row[0] for row in dates),
    )


def _new_events(run: Run) -> int:
    found = run.warehouse.value(
        "select coalesce(sum(new_n), 0) from raw.landings where last_event_no > $after and last_event_no <= $upto",
        {"after": run.after, "upto": run.upto},
    )
    return int(found)


def build(
    warehouse: Warehouse,
    definitions: Definitions,
    *,
    key: bytes,
    now: datetime,
    full: bool = False,
    since: date | None = None,
    until: date | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    rules_folder: Path = SQL / "0_rules",
) -> Built | None:
    """Bring all models to what has landed; None when nothing has, no models in the answer when all are up to date.

    `key`: the installation's key, for keyed hashes. `now`: UTC clock, noted in meta.builds only. `full` makes every
    row anew; `since` and `until` (local dates, both included) make the rows of those dates and of their devices and
    persons anew. An interrupted build is finished first, by its own plan. `progress` gets (model, done, of).
    """
    hashes = _hashes(definitions, rules.load(warehouse, rules_folder) + agents.lists())
    run = _resume(warehouse, definitions, key, hashes, progress)
    is_resumed = run is not None
    if run is None:
        with warehouse.transaction():
            run = _plan(warehouse, definitions, key, hashes, progress, now=now, full=full, since=since, until=until)
            if run is not None and _is_idle(run):
                warehouse.execute("delete from meta.builds where build_id = $id", {"id": run.build_id})
                run = None
    if run is None:
        last = warehouse.execute("select build_id, horizon from meta.builds order by build_id desc limit 1")
        return Built(last[0][0], 0, last[0][1], ()) if last else None
    build_id = {"id": run.build_id}
    done = {row[0] for row in warehouse.execute("select model from meta.steps where build_id = $id", build_id)}
    kept_before = warehouse.value("select max(before) from raw.expired") if _is_whole(run, MODELS[0]) else None
    for number, model in enumerate(MODELS):
        progress(model.name, number, len(MODELS))
        if model.name not in done:
            _step(run, model, hashes[model.name])
    progress("", len(MODELS), len(MODELS))
    with warehouse.transaction():
        warehouse.execute("delete from meta.dirty where build_id = $id", build_id)
        warehouse.execute("delete from meta.whole where build_id = $id", build_id)
        for table in ("meta.builds", "meta.steps"):
            warehouse.execute(f"delete from {table} where build_id <= $oldest", {"oldest": run.build_id - KEPT_BUILDS})
        warehouse.execute("update meta.builds set finished_at = $now where build_id = $id", {"now": now, **build_id})
    steps = warehouse.execute("select model, rows_n, seconds from meta.steps where build_id = $id", build_id)
    built = Built(run.build_id, _new_events(run), run.horizon, tuple(steps), kept_before, bots.moved(run))
    if is_resumed:
        # What landed meanwhile, and what was asked for now, is none of the interrupted build's plan.
        following = build(
            warehouse,
            definitions,
            key=key,
            now=now,
            full=full,
            since=since,
            until=until,
            progress=progress,
            rules_folder=rules_folder,
        )
        return following if following and following.models else built
    return built


def _step(run: Run, model: Model, definition_hash: str) -> None:
    """Run one model in one transaction, and note it done in the same."""
    started = time.perf_counter()
    run.whole = _is_whole(run, model)
    with run.warehouse.transaction():
        rows = model.rebuild(run)
        run.warehouse.execute(
            "insert into meta.steps by name select $build as build_id, $model as model, $hash as definition_hash, "
            "$whole as is_whole, $rows as rows_n, $seconds as seconds",
            {
                "build": run.build_id,
                "model": model.name,
                "hash": definition_hash,
                "whole": run.whole,
                "rows": rows,
                "seconds": time.perf_counter() - started,
            },
        )


def _is_whole(run: Run, model: Model) -> bool:
    return bool(
        run.warehouse.value(
            "select count(*) from meta.whole where build_id = $id and model = $model",
            {"id": run.build_id, "model": model.name},
        )
    )


def _hashes(definitions: Definitions, rules_hash: str) -> dict[str, str]:
    """Of each model the hash of all that its rows follow from beside the events: definitions, rules, SQL, needs."""
    found: dict[str, str] = {}
    for model in MODELS:
        told = hashlib.sha256(msgspec.json.encode(model.definition(definitions), order="sorted"))
        told.update(rules_hash.encode())
        for name in model.tables:
            told.update(f"{tables()[name].create}{tables()[name].query}".encode())
        for need in model.needs:
            told.update(found[need].encode())
        found[model.name] = told.hexdigest()
    return found


def horizon(warehouse: Warehouse) -> datetime | None:
    """Up to when everything received has landed, UTC: the least over the partitions that may still bring something.

    A partition counts with the clock at which landing had read all of it, else with the last event landed from it.
    None open: the clock of the last landing. Never before the horizon of the last build. None: nothing has landed.
    """
    # The clock stands at 1970 until a first landing has come to its end.
    landed_at: datetime | None = warehouse.value(
        "select max(landed_at) from raw.clock where landed_at > timestamp '1970-01-01'"
    )
    if landed_at is None:
        return None
    reached: datetime | None = warehouse.value(
        "select min(coalesce(caught_up_at, last_received_at)) from raw.positions where not is_done"
    )
    before: datetime | None = warehouse.value("select max(horizon) from meta.builds")
    found = reached if reached is not None else landed_at
    return found if before is None else max(found, before)


def _resume(
    warehouse: Warehouse,
    definitions: Definitions,
    key: bytes,
    hashes: dict[str, str],
    progress: Callable[[str, int, int], None],
) -> Run | None:
    """The interrupted build, to be finished by its own plan; None when the last one was finished.

    If definitions have changed since, its plan no longer serves: it is closed, and the next one makes all anew.
    """
    rows = warehouse.execute(
        "select build_id, after_event_no, upto_event_no, horizon, definitions_hash from meta.builds "
        "where finished_at is null"
    )
    if not rows:
        return None
    build_id, after, upto, at, told = rows[0]
    if told != _all(hashes):
        with warehouse.transaction():
            for table in ("meta.builds", "meta.steps", "meta.dirty", "meta.whole"):
                warehouse.execute(f"delete from {table} where build_id = $id", {"id": build_id})
            warehouse.execute("delete from meta.steps")
        return None
    before = warehouse.value("select max(horizon) from meta.builds where finished_at is not null")
    return Run(warehouse, definitions, key, build_id, after, upto, at, before, progress)


def _plan(
    warehouse: Warehouse,
    definitions: Definitions,
    key: bytes,
    hashes: dict[str, str],
    progress: Callable[[str, int, int], None],
    *,
    now: datetime,
    full: bool,
    since: date | None,
    until: date | None,
) -> Run | None:
    """Write down a new build: what is new, what the passing of time has made known, what must be made anew.

    To be called inside a transaction.
    """
    at = horizon(warehouse)
    if at is None:
        return None
    upto, landed_to = warehouse.execute(
        "select coalesce(max(last_event_no), 0), coalesce(max(landing_id), 0) from raw.landings"
    )[0]
    last = warehouse.execute("select build_id, upto_event_no, horizon from meta.builds order by build_id desc limit 1")
    build_id, after, before = (last[0][0] + 1, last[0][1], last[0][2]) if last else (1, 0, None)
    known = dict(warehouse.execute("select model, arg_max(definition_hash, build_id) from meta.steps group by model"))
    whole: set[str] = set()
    for model in MODELS:
        if full or known.get(model.name) != hashes[model.name] or whole & set(model.needs):
            whole.add(model.name)
    run = Run(warehouse, definitions, key, build_id, after, upto, at, before, progress)
    warehouse.execute(
        "insert into meta.builds by name select $id as build_id, $now as started_at, null as finished_at, "
        "$full as is_full, $after as after_event_no, $upto as upto_event_no, $landed as landed_to, "
        "$horizon as horizon, $hash as definitions_hash",
        {
            "id": build_id,
            "now": now,
            "full": full,
            "after": after,
            "upto": upto,
            "landed": landed_to,
            "horizon": at,
            "hash": _all(hashes),
        },
    )
    for name in whole:
        warehouse.execute("insert into meta.whole select $id, $model", {"id": build_id, "model": name})
    _ripen(run)
    if since or until:
        _again(run, since or date.min, until or date.max)
    return run


def _is_idle(run: Run) -> bool:
    """Nothing to do: nothing new, nothing marked, nothing to make anew, and too little time gone for windows to end.

    The horizon then stays where it was, so that what is published stays true of it.
    """
    if run.upto > run.after or run.horizon_before is None or run.horizon - run.horizon_before >= PATIENCE:
        return False
    return not run.warehouse.value(
        "select (select count(*) from meta.dirty where build_id = $id and kind <> 'ripe') "
        "+ (select count(*) from meta.whole where build_id = $id)",
        {"id": run.build_id},
    )


def _ripen(run: Run) -> None:
    """Mark what the passing of time alone changes: sessions that are over now, dates that have ended.

    Windows of funnels and periods of retention ripen in their own models; that alone is no reason to build.
    """
    if run.horizon_before is None:
        return
    run.mark(
        "device",
        "select device_id from core.sessions where is_open and ended_at + $gap <= $horizon",
        {"gap": timedelta(microseconds=run.definitions.sessions.gap_us), "horizon": run.horizon},
    )
    run.mark(
        "date",
        f"""
        select {as_key("day")} from (
            select unnest(generate_series(
                cast(timezone($timezone, timezone('UTC', $before)) as date),
                cast(timezone($timezone, timezone('UTC', $horizon)) as date) - 1,
                interval 1 day
            )) as day
        )
        """,
        {
            "timezone": run.definitions.site.timezone,
            "before": run.horizon_before,
            "horizon": run.horizon,
        },
    )
    funnel_model.ripen(run)
    attribution.ripen(run)


def _again(run: Run, since: date, until: date) -> None:
    """Mark all devices, persons, orders and dates that have an event in a range of local dates."""
    values = {"since": since, "until": until}
    within = "where date between $since and $until"
    for kind in ("device", "again"):
        run.mark(kind, f"select device_id from core.events {within}", values)
    run.mark("person", f"select person_id from core.placements {within}", values)
    run.mark("date", f"select {as_key('date')} from core.placements {within}", values)
    run.mark(
        "order", f"select event_no from core.events {within} and name in ('Order Completed', 'Order Refunded')", values
    )


def _all(hashes: dict[str, str]) -> str:
    return hashlib.sha256("".join(hashes[model.name] for model in MODELS).encode()).hexdigest()
