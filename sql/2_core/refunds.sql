-- grain: one row per refund event
-- inputs: core.events, core.placements, core.orders, rules.currency_rates
-- surprising row: a refund that names no amount gives back what its order brought
-- reach: the refund itself, and the refunds of a changed order
create table if not exists core.refunds (
    order_id varchar, -- the order that it gives back; null: not said
    source varchar not null, -- configured name of the site or app
    person_id bigint, -- whose it is
    refunded_at timestamp not null, -- when, corrected, UTC
    date date not null, -- local date of refunded_at
    refund_amt decimal(18, 4), -- amount given back, positive, in the currency of the site; null: unknown
    is_bot boolean not null, -- made by a program
    event_no bigint not null, -- the refund's event
    session_no bigint -- the session that holds it; null: none
);

with told as (
    select
        e.event_no, e.source, e.event_at, e.date, p.person_id, p.session_no, p.is_bot,
        nullif(json_extract_string(e.properties, '$.order_id'), '') as order_id,
        try_cast(json_extract_string(e.properties, '$.revenue') as decimal(18, 4)) as revenue,
        try_cast(json_extract_string(e.properties, '$.total') as decimal(18, 4)) as total,
        try_cast(json_extract_string(e.properties, '$.tax') as decimal(18, 4)) as tax,
        try_cast(json_extract_string(e.properties, '$.shipping') as decimal(18, 4)) as shipping,
        try_cast(json_extract_string(e.properties, '$.value') as decimal(18, 4)) as value,
        upper(json_extract_string(e.properties, '$.currency')) as currency
    from order_events as e
    inner join order_placements as p on e.event_no = p.event_no
    where
        e.event_no in (select key from touched_orders) and e.name = 'Order Refunded'
        and coalesce(json_extract_string(e.properties, '$.test'), 'false') <> 'true'
),

rated as (
    select
        t.*,
        case
            when t.currency is null or t.currency = $currency then 1
            else cast(r.rate as decimal(18, 8))
        end as rate
    from told as t
    asof left join rules.currency_rates as r on t.currency = r.currency and t.date >= r.date
)

select
    r.order_id,
    r.source,
    r.person_id,
    r.event_at as refunded_at,
    r.date,
    coalesce(
        try_cast(
            coalesce(
                coalesce(r.revenue, r.total - coalesce(r.tax, 0) - coalesce(r.shipping, 0))
                + case when $with_tax then coalesce(r.tax, 0) else 0 end
                + case when $with_shipping then coalesce(r.shipping, 0) else 0 end,
                r.value
            ) * r.rate as decimal(18, 4)
        ),
        case when coalesce(r.revenue, r.total, r.value) is null then o.revenue_amt end
    ) as refund_amt,
    r.is_bot,
    r.event_no,
    r.session_no
from rated as r
left join core.orders as o on r.source = o.source and r.order_id = o.order_id
