"""marts.attribution*: which contacts came before a conversion, and what each is given of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from transforms import channels, people
from transforms.periods import instant
from transforms.run import Run
from transforms.steps import like

TOUCHES = "marts.attribution_touches"
RUNS = "marts.attribution_runs"
CELLS = "marts.attribution"
PATHS = "marts.attribution_paths"

# Of an event that is a touch; any other one is called by its name.
EVENT_CHANNEL = r"""case
    when e.name like 'Email %' then 'Email'
    when e.name like 'Ticket %' then 'Support'
    when e.name like 'Store %' then 'Store'
    when e.name like 'Social %' then 'Social'
    else e.name
end"""


# Time alone makes it known that a way came to nothing.
RIPENING = f"select person_id from {RUNS} where is_open and ended_at + $lookback <= $horizon"


def ripen(run: Run) -> None:
    """Mark the persons of whom time alone makes more known."""
    lookback = timedelta(microseconds=run.definitions.attribution.lookback_us)
    run.mark("ripe", RIPENING, {"lookback": lookback, "horizon": run.horizon})


def fill(run: Run) -> int:
    """Make the touched persons' conversions and ways again, and the months in which old or new ones fall."""
    warehouse = run.warehouse
    if run.whole:
        for table in ("core.ad_spend", TOUCHES, RUNS):
            run.forget(table)
    values = {
        "lookback": timedelta(microseconds=run.definitions.attribution.lookback_us),
        "horizon": run.horizon,
        "before": run.horizon_before,
        "currency": run.definitions.site.currency,
        "timezone": run.definitions.site.timezone,
        "whole": run.whole,
    }
    rows = _spend(run, values)
    people.gather(run)
    warehouse.execute(
        f"insert into touched_persons select distinct person_id from ({RIPENING}) as ripe "
        "where person_id not in (select key from touched_persons)",
        values,
    )
    run.touched("date", "touched_days", "select date_diff('day', date '1970-01-01', date) from core.placements")
    warehouse.execute(
        "create or replace temp table touched_dates as "
        "select date '1970-01-01' + cast(key as integer) as date from touched_days"
    )
    _find_conversions(run, values)
    _find_touches(run, values)
    _give_credit(run, values)
    mine = "person_id in (select key from touched_persons)"
    rows += run.replace(
        TOUCHES,
        warehouse.query(TOUCHES),
        values,
        scope=f"({mine} or (person_id is null and date in (select date from touched_dates)))",
        key="event_no, model, touch_no",
    )
    rows += run.replace(RUNS, warehouse.query(RUNS), values, scope=mine, key="person_id, started_at, ended_at")
    return rows + _fill_months(run, values)


def _spend(run: Run, values: dict[str, Any]) -> int:
    """Add the Ad Spend events that landed; temp table new_spend (date) of them."""
    warehouse = run.warehouse
    bounds = {"after": 0 if run.whole else run.after, "upto": run.upto}
    said = warehouse.frame(
        """
        select
            event_no,
            nullif(trim(json_extract_string(properties, '$.channel')), '') as named,
            coalesce(nullif(json_extract_string(properties, '$.source'), ''), utm_source) as utm_source,
            coalesce(nullif(json_extract_string(properties, '$.medium'), ''), utm_medium) as utm_medium,
            coalesce(nullif(json_extract_string(properties, '$.campaign'), ''), utm_campaign) as utm_campaign,
            cast(null as varchar) as click_id,
            cast(null as varchar) as referrer_host
        from core.events
        where event_no > $after and event_no <= $upto and name = 'Ad Spend'
        order by event_no
        """,
        bounds,
    )
    # What was paid for has a medium; a source alone does not tell the channel.
    is_told = pl.col("utm_source").is_not_null() & pl.col("utm_medium").is_not_null()
    grouped = channels.group(warehouse, said).select(
        "event_no",
        "utm_campaign",
        channel=pl.coalesce("named", pl.when(is_told).then("channel"), pl.lit("(unmapped)")),
    )
    with warehouse.frames(_spend=grouped):
        warehouse.execute("create or replace temp table spend_channels as select * from _spend")
    warehouse.execute(f"create or replace temp table new_spend as {warehouse.query('core.ad_spend')}", values)
    rows = warehouse.execute("insert into core.ad_spend by name select * from new_spend")
    run.note_changed("core.ad_spend", "select date from new_spend")
    return int(rows[0][0])


def _find_conversions(run: Run, values: dict[str, Any]) -> None:
    """Temp table conversions: the key events and refunds of the touched persons, and on the touched dates nobody's.

    An order counts once, by the event that won it, with its settled amount. A refund goes by its order: `origin_no`.
    """
    run.warehouse.execute(
        r"""
        create or replace temp table conversions as
        with key_orders as (
            select event_no, event_id, source, order_id, person_id, session_no, ordered_at, date, revenue_amt
            from core.orders
            where not is_bot and $has_orders
        ),

        keys as (
            select
                p.event_no, p.person_id, p.session_no, p.event_at, p.date, e.event_id, e.source, e.name, e.properties
            from people_placements as p
            inner join people_events as e on p.event_no = e.event_no
            where p.is_key and not p.is_bot and p.person_id in (select key from touched_persons)
            union all
            select
                p.event_no, p.person_id, p.session_no, p.event_at, p.date, e.event_id, e.source, e.name, e.properties
            from core.placements as p
            inner join core.events as e on p.event_no = e.event_no
            where
                p.is_key and not p.is_bot and p.person_id is null
                and p.date in (select date from touched_dates) and e.date in (select date from touched_dates)
        ),

        keyed as (
            select
                event_no, event_id, source, name as conversion, person_id, session_no, event_at as converted_at, date,
                upper(json_extract_string(properties, '$.currency')) as currency,
                try_cast(coalesce(
                    json_extract_string(properties, '$.revenue'), json_extract_string(properties, '$.value')
                ) as decimal(18, 4)) as amount
            from keys
            where name not in ('Order Completed', 'Order Refunded')
        ),

        refunds as (
            select
                r.event_no, e.event_id, r.source, r.refunded_at, r.date, r.refund_amt,
                case when o.event_no is null then r.person_id else o.person_id end as person_id,
                o.event_no as origin_no
            from core.refunds as r
            inner join core.events as e on r.event_no = e.event_no
            left join key_orders as o on r.source = o.source and r.order_id = o.order_id
            where not r.is_bot and $has_orders
        ),

        found as (
            select
                event_no, event_no as origin_no, event_id, source, 'Order Completed' as conversion,
                false as is_refund, person_id, session_no, ordered_at as converted_at, date, revenue_amt as value_amt
            from key_orders
            union all by name
            select
                k.event_no, k.event_no as origin_no, k.event_id, k.source, k.conversion,
                false as is_refund, k.person_id, k.session_no, k.converted_at, k.date,
                try_cast(
                    k.amount * case
                        when k.currency is null or k.currency = $currency then 1 else cast(r.rate as decimal(18, 8))
                    end as decimal(18, 4)
                ) as value_amt
            from keyed as k
            asof left join rules.currency_rates as r on k.currency = r.currency and k.date >= r.date
            union all by name
            select
                event_no, origin_no, event_id, source, 'Order Refunded' as conversion,
                true as is_refund, person_id, null as session_no, refunded_at as converted_at, date,
                -refund_amt as value_amt
            from refunds
        )

        select *
        from found
        where
            person_id in (select key from touched_persons)
            or (person_id is null and date in (select date from touched_dates))
        """,
        {**values, "has_orders": _has_orders(run)},
    )


def _has_orders(run: Run) -> bool:
    """Whether [site] key_events names orders."""
    return bool(
        run.warehouse.value(
            r"select count(*) from (select unnest(cast($globs as varchar[])) as pattern) "
            r"where 'Order Completed' like pattern escape '\'",
            {"globs": [like(name) for name in run.definitions.site.key_events]},
        )
    )


def _find_touches(run: Run, values: dict[str, Any]) -> None:
    """Temp tables own_touches (of the touched persons, with order_no) and touches (with those of their conversions).

    A session that holds a conversion is a touch of it also where it belongs to another customer of the device.
    """
    names = run.definitions.attribution.touches
    bound = {f"touch_{number}": like(name) for number, name in enumerate(names)}
    is_touch = " or ".join(rf"e.name like ${name} escape '\'" for name in bound) or "false"
    run.warehouse.execute(
        f"""
        create or replace temp table touches as
        with visits as (
            select
                s.session_no as touch_event_no, s.session_no, s.session_id, s.person_id, s.started_at as touched_at,
                s.date, 'session' as touch, coalesce(s.channel, '(none)') as channel, s.utm_campaign as campaign
            from people_sessions as s
            where
                not s.is_bot and (
                    s.person_id in (select key from touched_persons)
                    or s.session_no in (select session_no from conversions where not is_refund)
                )
        ),

        contacts as (
            select
                p.event_no as touch_event_no, cast(null as bigint) as session_no, cast(null as varchar) as session_id,
                p.person_id, p.event_at as touched_at, p.date, e.name as touch, {EVENT_CHANNEL} as channel,
                e.utm_campaign as campaign
            from people_placements as p
            inner join people_events as e on p.event_no = e.event_no
            where p.person_id in (select key from touched_persons) and not p.is_bot and ({is_touch})
        ),

        met as (
            select * from visits
            union all
            select * from contacts
        )

        select
            m.*,
            row_number() over (
                order by m.touched_at, e.seq nulls last, e.event_id, e.source, e.event_no, m.session_no nulls last
            ) as order_no
        from met as m
        inner join people_events as e on m.touch_event_no = e.event_no
        """,
        {**values, **bound},
    )
    run.warehouse.execute(
        "create or replace temp table own_touches as "
        "select * from touches where person_id in (select key from touched_persons)"
    )


def _give_credit(run: Run, values: dict[str, Any]) -> None:
    """Temp table credits: per conversion and model the touches that get some of it.

    `share_n` touches share the conversion alike, and this is number `share_no` of them.
    """
    run.warehouse.execute(
        """
        create or replace temp table credits as
        with firsts as (
            select * from conversions where not is_refund
        ),

        spaced as (
            select
                *,
                case
                    when $since_last
                    then max(converted_at) over (
                        partition by person_id order by converted_at
                        range between unbounded preceding and interval 1 microsecond preceding
                    )
                end as since
            from firsts
        ),

        met as (
            select c.event_no, t.*
            from spaced as c
            inner join touches as t
                on
                    c.person_id = t.person_id
                    and t.touched_at between c.converted_at - $lookback and c.converted_at
                    and t.touched_at > coalesce(c.since, timestamp '0001-01-01')
            union
            select c.event_no, t.*
            from spaced as c
            inner join touches as t on c.session_no = t.session_no
        ),

        counted as (
            select
                event_no, touched_at, touch, session_id, channel, campaign,
                row_number() over (partition by event_no order by order_no) as touch_no,
                count(*) over (partition by event_no) as touch_n
            from met
        ),

        -- A session of unknown channel brings nobody more than a direct one does.
        told as (
            select
                *,
                coalesce(
                    max(touch_no) filter (where channel not in ('Direct', '(none)')) over (partition by event_no),
                    touch_n
                ) as non_direct_no
            from counted
        ),

        given as (
            select *, 'first' as model, 1 as share_n, 1 as share_no from told where touch_no = 1
            union all
            select *, 'last' as model, 1 as share_n, 1 as share_no from told where touch_no = touch_n
            union all
            select *, 'last_non_direct' as model, 1 as share_n, 1 as share_no from told where touch_no = non_direct_no
            union all
            select *, 'linear' as model, touch_n as share_n, touch_no as share_no from told
        ),

        models as (
            select unnest(['first', 'last', 'last_non_direct', 'linear']) as model
        )

        select
            c.event_no, m.model,
            coalesce(g.touch_no, 0) as touch_no,
            coalesce(g.touch_n, 0) as touch_n,
            g.touched_at,
            coalesce(g.touch, '(none)') as touch,
            g.session_id,
            coalesce(g.channel, '(unattributed)') as channel,
            g.campaign, g.share_n, g.share_no
        from conversions as c
        cross join models as m
        left join given as g on c.origin_no = g.event_no and m.model = g.model
        """,
        {**values, "since_last": run.definitions.attribution.since_last_conversion},
    )


def _fill_months(run: Run, values: dict[str, Any]) -> int:
    """Make the months again in which something changed, or which time has completed."""
    warehouse = run.warehouse
    changed = " union ".join(
        f"select date from {table}"
        for table in (
            "old_attribution_touches",
            "new_attribution_touches",
            "old_attribution_runs",
            "new_attribution_runs",
            "new_spend",
        )
    )
    warehouse.execute(
        f"""
        create or replace temp table attribution_months as
        with changed as (
            select distinct cast(date_trunc('month', date) as date) as month, true as is_changed
            from ({changed})
        ),

        months as (
            select month, bool_or(is_changed) as is_changed
            from (
                select * from changed
                union all
                select distinct month, false from {CELLS} where not is_complete
                union all
                select distinct month, false from {PATHS} where not is_complete
            )
            group by month
        ),

        bounded as (
            select month, is_changed, cast(month + interval 1 month as date) as next_month
            from months
        ),

        ended as (
            select *, {instant("next_month")} as month_end_at
            from bounded
        )

        select month, next_month, month_end_at
        from ended
        where is_changed or month_end_at <= $horizon
        """,
        values,
    )
    scope = "true" if run.whole else "month in (select month from attribution_months)"
    rows = run.replace(CELLS, warehouse.query(CELLS), values, scope=scope, key="model, month, channel")
    return rows + run.replace(PATHS, warehouse.query(PATHS), values, scope=scope, key="month, outcome, path")
