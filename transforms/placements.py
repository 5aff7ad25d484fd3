"""core.placements, core.sessions, core.identities: whose each event is and which session holds it, by device."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from transforms import bots, channels, identity, sessions
from transforms.definitions import DAY_US
from transforms.run import Run, as_key
from transforms.steps import like
from warehouse import Warehouse

SHARD_EVENTS = 4_000_000  # events held in memory at once


def place(run: Run) -> int:
    """Place all events of the touched devices again, write what changed, and mark its persons and dates."""
    is_other = run.whole and bots.has_changed(run)
    if is_other:
        bots.remember(run, "sessions", bots.SESSIONS)
        bots.remember(run, "visitors", bots.VISITORS)
    if run.whole:
        for table in ("core.placements", "core.sessions", "core.identities"):
            run.forget(table)
    run.touched("device", "touched_devices", "select device_id from core.events")
    shards = 1 + _event_n(run) // SHARD_EVENTS
    rows = sum(_place_shard(run, shard, shards) for shard in range(shards))
    rows += _place_deviceless(run)
    if is_other:
        bots.compare(run, "sessions", bots.SESSIONS)
        bots.compare(run, "visitors", bots.VISITORS)
    return rows


def _event_n(run: Run) -> int:
    """About how many events the touched devices have."""
    if run.whole:
        return int(run.warehouse.value("select count(*) from core.events"))
    before = "select sum(event_n) from core.sessions where device_id in (select key from touched_devices)"
    new = "select count(*) from core.events where event_no > $after and event_no <= $upto"
    return int(run.warehouse.value(before) or 0) + int(run.warehouse.value(new, {"after": run.after, "upto": run.upto}))


def _place_shard(run: Run, shard: int, shards: int) -> int:
    warehouse = run.warehouse
    warehouse.execute(
        """
        create or replace temp table touched_events as
        select
            event_no, event_id, source, name, event_at, date, seq, device_id, user_person_id, id_kind, page_view_id,
            is_page, is_bearing, is_interactive, is_bot, bot_kind, bot_rule, path, referrer_host, utm_source,
            utm_medium, utm_campaign, click_id, campaign_key, session_hint, agent_id, country, library, engaged_ms,
            is_ping
        from core.events
        where device_id in (select key from touched_devices where key % $shards = $shard)
        """,
        {"shards": shards, "shard": shard},
    )
    _name_events(run, "key_names", run.definitions.site.key_events, "select name from touched_events")
    _name_events(run, "start_names", run.definitions.sessions.cut_on_events, "select name from touched_events")
    _walk(run)
    _hit_channels(warehouse)
    values = {
        "gap": timedelta(microseconds=run.definitions.sessions.gap_us),
        "horizon": run.horizon,
        "heartbeat_s": run.definitions.sessions.heartbeat_s,
        "min_visit_s": run.definitions.sessions.min_visit_s,
        "shards": shards,
        "shard": shard,
    }
    scope = "device_id in (select key from touched_devices where key % $shards = $shard)"
    rows = 0
    for table, query, key in (
        ("core.placements", "select * exclude (start_rule, order_no) from placed", "event_no"),
        ("core.sessions", warehouse.query("core.sessions"), "session_no"),
        ("core.identities", warehouse.query("core.identities"), "device_id, person_id"),
    ):
        rows += run.replace(table, query, values, scope=scope, key=key)
    moved = "select * from old_placements union all select * from new_placements"
    changed = "select * from old_sessions union all select * from new_sessions"
    run.mark("person", f"select person_id from ({moved}) union select person_id from ({changed})")
    # Funnels and retention may read a session's columns beside the events of any person in it.
    run.mark(
        "person",
        f"select person_id from placed where session_no in (select session_no from ({changed}))",
    )
    run.mark("date", f"select {as_key('date')} from ({moved}) union select {as_key('date')} from ({changed})")
    # A session that changed its channel, device or flag takes its events' dates along.
    run.mark(
        "date",
        f"select {as_key('date')} from placed where session_no in (select session_no from ({changed}))",
    )
    run.mark("order", _orders_of("select event_no from old_placements union select event_no from new_placements"))
    run.mark(
        "order",
        _orders_of(f"select event_no from placed where session_no in (select session_no from ({changed}))"),
    )
    return rows


def _orders_of(events: str) -> str:
    return (
        "select event_no from touched_events "
        f"where name in ('Order Completed', 'Order Refunded') and event_no in ({events})"
    )


def _walk(run: Run) -> None:
    """Temp table placed: the touched events with session and person, from the two kernels."""
    warehouse = run.warehouse
    rules = run.definitions.identity
    frame = warehouse.frame(
        """
        with users as (
            select device_id, count(distinct user_person_id) > $most as is_shared
            from core.identity_edges
            where device_id in (select distinct device_id from touched_events)
            group by device_id
        ),

        lines as (
            select
                event_no, device_id, event_at, seq, event_id, source, is_bearing, user_person_id,
                user_person_id as edge, true as is_event, date, session_hint, campaign_key, is_page,
                name in (select name from start_names) as is_manual
            from touched_events
            union all
            -- an alias call ties a device that is not its own: a line in that device's time, but no event of it
            select
                i.event_no, i.device_id, i.event_at, i.seq, i.event_id, i.source, false, null, i.user_person_id, false,
                null, null, null, false, false
            from core.identity_edges as i
            left join touched_events as e on i.event_no = e.event_no and i.device_id = e.device_id
            where i.device_id in (select distinct device_id from touched_events) and e.event_no is null
        )

        select
            l.event_no, l.device_id, epoch_us(l.event_at) as at, l.is_bearing, l.user_person_id as user, l.edge,
            l.is_event, coalesce(u.is_shared, false) as is_shared, l.date,
            case when $is_told then nullif(trim(l.session_hint), '') end as session_hint,
            l.campaign_key, l.is_page, l.is_manual
        from lines as l
        left join users as u on l.device_id = u.device_id
        order by l.device_id, l.event_at, l.seq nulls last, l.event_id, l.source, l.event_no
        """,
        {"most": rules.max_users_per_device, "is_told": run.definitions.sessions.cut_on_client_id},
    )
    owned = identity.own(frame, rules).filter("is_event")
    placed = sessions.cut(owned, run.definitions.sessions).with_row_index("order_no")
    with warehouse.frames(
        _placed=placed.select("event_no", "order_no", "person_id", "owner_rule", "session_no", "start_rule")
    ):
        warehouse.execute(
            """
            create or replace temp table placed as
            with held as (
                select
                    p.event_no, e.event_at, e.date, e.source, e.device_id, p.person_id, p.owner_rule, p.session_no,
                    e.is_page, e.is_bearing, e.name in (select name from key_names) as is_key,
                    coalesce(e.id_kind = 'daily', false) as is_daily,
                    cast(p.order_no as bigint) as order_no,
                    case
                        when p.session_no is null then e.is_bot
                        else bool_or(e.is_bot) over (partition by coalesce(p.session_no, -p.event_no))
                    end as is_bot,
                    p.start_rule,
                    -- without the client's own id, the page event before it in the session stands for the view
                    coalesce(e.page_view_id, chr(31) || count(*) filter (where e.is_page) over (
                        partition by coalesce(p.session_no, -p.event_no) order by p.order_no
                    )) as page_view,
                    -- NaN and the like, and what is below zero, is no report
                    case when e.engaged_ms >= 0 and isfinite(e.engaged_ms) then e.engaged_ms end as reported_ms
                from _placed as p
                inner join touched_events as e on p.event_no = e.event_no
            ),

            viewed as (
                select
                    *,
                    case
                        when session_no is not null
                        then first_value(event_no) over (
                            partition by session_no, page_view order by is_page desc, order_no
                        )
                    end as view_no
                from held
            ),

            -- A report cannot be longer than the time since the view's last one, nor than a day.
            reports as (
                select
                    event_no,
                    case
                        when reported_ms is not null
                        then least(
                            reported_ms,
                            coalesce(date_diff('microsecond', lag(event_at) over in_view, event_at) / 1000.0, $day_ms)
                        )
                    end as engaged_ms
                from viewed
                where session_no is not null and (is_page or reported_ms is not null)
                window in_view as (partition by view_no order by order_no)
            )

            select
                v.event_no, v.event_at, v.date, v.source, v.device_id, v.person_id, v.owner_rule, v.session_no,
                v.view_no, r.engaged_ms, v.is_page, v.is_bearing, v.is_key, v.is_daily, v.order_no,
                v.is_bot, v.start_rule
            from viewed as v
            left join reports as r on v.event_no = r.event_no
            """,
            {"day_ms": DAY_US / 1000},
        )


def _name_events(
    run: Run, table: str, globs: tuple[str, ...], names: str, values: dict[str, Any] | None = None
) -> None:
    """Temp table `table`(name): of the names that a query gives those that one of the globs names."""
    run.warehouse.execute(
        rf"""
        create or replace temp table {table} as
        select distinct n.name
        from ({names}) as n
        inner join (select unnest(cast($globs as varchar[])) as pattern) as k on n.name like k.pattern escape '\'
        """,
        {**(values or {}), "globs": [like(name) for name in globs]},
    )


def _hit_channels(warehouse: Warehouse) -> None:
    """Temp table hit_channels: source, medium and channel of the distinct hits."""
    hits = warehouse.frame(
        "select distinct utm_source, utm_medium, utm_campaign, click_id, referrer_host "
        "from touched_events where is_page"
    )
    with warehouse.frames(_channels=channels.group(warehouse, hits)):
        warehouse.execute("create or replace temp table hit_channels as select * from _channels")


def _place_deviceless(run: Run) -> int:
    """Events without anonymous id belong to the customer they name, else to nobody; they are in no session."""
    warehouse = run.warehouse
    values = {"after": 0 if run.whole else run.after, "upto": run.upto}
    new = "from core.events where event_no > $after and event_no <= $upto and device_id is null"
    _name_events(run, "key_names", run.definitions.site.key_events, f"select name {new}", values)
    warehouse.execute(
        f"""
        create or replace temp table new_placements as
        select
            event_no, event_at, date, source, cast(null as bigint) as device_id, user_person_id as person_id,
            case when user_person_id is null then 'nobody' else 'own' end as owner_rule,
            cast(null as bigint) as session_no, cast(null as bigint) as view_no, cast(null as double) as engaged_ms,
            is_page, is_bearing, name in (select name from key_names) as is_key,
            false as is_daily, is_bot
        {new}
        """,
        values,
    )
    run.mark("person", "select person_id from new_placements")
    run.mark("date", f"select {as_key('date')} from new_placements")
    rows = warehouse.execute("insert into core.placements by name select * from new_placements")
    run.note_changed("core.placements", "select date from new_placements")
    return int(rows[0][0])
