"""core.placements, core.sessions, core.identities: whose each event is and which session holds it, by device."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from transforms import bots, channels, identity, reach, sessions
from transforms.definitions import DAY_US
from transforms.run import Run, as_key, shard_n
from transforms.steps import like
from transforms.total_order import in_order, look_up
from warehouse import Warehouse

# How strongly a rule ties a device and a person, 1 most.
RANK = "case {} when 'own' then 1 when 'next' then 2 when 'previous' then 3 else 4 end"


def place(run: Run) -> int:
    """Place the touched devices again from where anything can differ; write what does, mark its persons and dates."""
    is_other = run.whole and bots.has_changed(run)
    if is_other:
        bots.remember(run, "sessions", bots.SESSIONS)
        bots.remember(run, "visitors", bots.VISITORS)
    if run.whole:
        for table in ("core.placements", "core.sessions", "core.identities"):
            run.forget(table)
    since = reach.bound(run)
    shards = shard_n(_event_n(run, since))
    rows = sum(_place_shard(run, since, shard, shards) for shard in range(shards))
    rows += _place_deviceless(run)
    if is_other:
        bots.compare(run, "sessions", bots.SESSIONS)
        bots.compare(run, "visitors", bots.VISITORS)
    return rows


def _event_n(run: Run, since: date) -> int:
    """About how many events of the touched devices are placed again."""
    if run.whole:
        return int(run.warehouse.value("select count(*) from core.events"))
    before = (
        "select sum(event_n) from core.sessions "
        f"where date >= date '{since}' and device_id in (select key from touched_devices)"
    )
    new = "select count(*) from core.events where event_no > $after and event_no <= $upto"
    return int(run.warehouse.value(before) or 0) + int(run.warehouse.value(new, {"after": run.after, "upto": run.upto}))


def _place_shard(run: Run, since: date, shard: int, shards: int) -> int:
    warehouse = run.warehouse
    values = {
        "gap": timedelta(microseconds=run.definitions.sessions.gap_us),
        "horizon": run.horizon,
        "heartbeat_s": run.definitions.sessions.heartbeat_s,
        "min_visit_s": run.definitions.sessions.min_visit_s,
    }
    warehouse.execute(
        "create or replace temp table shard_devices as select * from touched_devices where key % $shards = $shard",
        {"shards": shards, "shard": shard},
    )
    # The date is a constant, so that earlier ones are not read.
    warehouse.execute(
        f"""
        create or replace temp table touched_events as
        select
            e.event_no, e.event_id, e.source, e.name, e.event_at, e.date, e.seq, e.device_id, e.user_person_id,
            e.id_kind, e.page_view_id, e.is_page, e.is_bearing, e.is_interactive, e.is_bot, e.bot_kind, e.bot_rule,
            e.path, e.referrer_host, e.utm_source, e.utm_medium, e.utm_campaign, e.click_id, e.campaign_key,
            e.session_hint, e.agent_id, e.country, e.library, e.engaged_ms, e.is_ping
        from core.events as e
        inner join shard_devices as d on e.device_id = d.key and e.event_at >= d.since
        where e.date >= date '{since}'
        """
    )
    _name_events(run, "key_names", run.definitions.site.key_events, "select name from touched_events")
    _name_events(run, "start_names", run.definitions.sessions.cut_on_events, "select name from touched_events")
    _walk(run)
    _hit_channels(warehouse)
    _find_earlier(run, since)
    warehouse.execute(
        f"""
        create or replace temp table touched_sessions as
        select s.session_no
        from core.sessions as s
        inner join shard_devices as d on s.device_id = d.key and s.started_at >= d.since
        where s.date >= date '{since}'
        """
    )
    later = f"date >= date '{since}'"
    rows = 0
    for table, query, scope, key in (
        (
            "core.placements",
            "select * exclude (start_rule, order_no) from placed",
            f"{later} and event_no in (select event_no from touched_events)",
            "event_no",
        ),
        (
            "core.sessions",
            warehouse.query("core.sessions"),
            f"{later} and session_no in (select session_no from touched_sessions)",
            "session_no",
        ),
        (
            "core.identities",
            warehouse.query("core.identities"),
            "device_id in (select key from shard_devices)",
            "device_id, person_id",
        ),
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


def _find_earlier(run: Run, since: date) -> None:
    """Temp table earlier (device_id, person_id, owner_rule, known_from, known_to): what ties them before `since`.

    Known without the events: a pair whose first event is earlier keeps its first moment, and of its last moment and
    strongest rule what the later events do not settle. Where these have lost some of the pair, they are looked at.
    """
    rank = RANK.format
    run.warehouse.execute(
        f"""
        create or replace temp table earlier as
        with kept_pairs as (
            select p.device_id, p.person_id, min({rank("p.owner_rule")}) as rank
            from core.placements as p
            inner join shard_devices as d on p.device_id = d.key and p.event_at >= d.since
            where p.date >= date '{since}'
            group by p.device_id, p.person_id
        ),

        made_pairs as (
            select device_id, person_id, min({rank("owner_rule")}) as rank
            from placed
            group by device_id, person_id
        )

        select
            i.device_id, i.person_id, i.rule as owner_rule, i.known_from,
            case when k.device_id is null then i.known_to else i.known_from end as known_to,
            k.device_id is not null and (
                m.device_id is null or ({rank("i.rule")} < m.rank and {rank("i.rule")} >= k.rank)
            ) as is_asked
        from core.identities as i
        inner join shard_devices as d on i.device_id = d.key and i.known_from < d.since
        left join kept_pairs as k on i.device_id = k.device_id and i.person_id = k.person_id
        left join made_pairs as m on i.device_id = m.device_id and i.person_id = m.person_id
        """
    )
    if run.warehouse.value("select exists(from earlier where is_asked)"):
        run.warehouse.execute(
            f"""
            create or replace temp table earlier as
            select * exclude (is_asked) from earlier where not is_asked
            union all
            select
                p.device_id, p.person_id, arg_min(p.owner_rule, {rank("p.owner_rule")}),
                min(p.event_at), max(p.event_at)
            from core.placements as p
            inner join shard_devices as d on p.device_id = d.key and p.event_at < d.since
            inner join earlier as e on p.device_id = e.device_id and p.person_id = e.person_id and e.is_asked
            group by p.device_id, p.person_id
            """
        )


def _orders_of(events: str) -> str:
    return (
        "select event_no from touched_events "
        f"where name in ('Order Completed', 'Order Refunded') and event_no in ({events})"
    )


def _walk(run: Run) -> None:
    """Temp table placed: the touched events with session and person, from the two kernels."""
    warehouse = run.warehouse
    rules, cuts = run.definitions.identity, run.definitions.sessions
    # What no rule reads is not held.
    asked = "".join(
        f", {column}"
        for column, is_asked in (
            ("l.date", cuts.cut_at_midnight),
            ("nullif(trim(l.session_hint), '') as session_hint", cuts.cut_on_client_id),
            ("l.campaign_key, l.is_page", cuts.cut_on_campaign),
            ("l.is_manual", cuts.cut_on_events),
        )
        if is_asked
    )
    frame = warehouse.frame(
        f"""
        with users as (
            select device_id, count(distinct user_person_id) > $most as is_shared
            from core.identity_edges
            where device_id in (select key from shard_devices)
            group by device_id
        ),

        lines as (
            select
                event_no, device_id, event_at, seq, event_id, source, is_bearing, user_person_id,
                user_person_id as edge, true as is_event, date, session_hint, campaign_key, is_page,
                name in (select name from start_names) as is_manual
            from touched_events
            union all
            -- a login before, and an alias call of another device: a line in this device's time that is not placed
            select
                i.event_no, i.device_id, i.event_at, i.seq, i.event_id, i.source, false, null, i.user_person_id, false,
                null, null, null, false, false
            from core.identity_edges as i
            left join touched_events as e on i.event_no = e.event_no and i.device_id = e.device_id
            inner join shard_devices as d on i.device_id = d.key
            where e.event_no is null and epoch_us(i.event_at) >= epoch_us(d.since) - cast($stitch_us as bigint)
        )

        select
            l.event_no, l.device_id, epoch_us(l.event_at) as at, l.is_bearing, l.user_person_id as user, l.edge,
            l.is_event, coalesce(u.is_shared, false) as is_shared{asked}
        from lines as l
        left join users as u on l.device_id = u.device_id
        """,
        {
            "most": rules.max_users_per_device,
            "stitch_us": rules.stitch_us,
        },
    )
    # Under one name, so that of the frames between none is held.
    frame = in_order(frame, "device_id", lambda tied: look_up(warehouse, tied, "touched_events", "core.identity_edges"))
    frame = identity.own(frame, rules).filter("is_event")
    frame = sessions.cut(frame, cuts).with_row_index("order_no")
    frame = frame.select("event_no", "order_no", "person_id", "owner_rule", "session_no", "start_rule")
    with warehouse.frames(_placed=frame):
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
