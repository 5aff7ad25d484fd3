-- grain: one row per order: source and order id
-- inputs: core.events, core.placements, rules.currency_rates
-- surprising row: an order in a currency without a rate has revenue_amt null and is_unconverted true
-- reach: the order itself; is_first: the orders of the same person
create table if not exists core.orders (
    order_id varchar not null, -- the shop's id; without one the event's
    source varchar not null, -- configured name of the site or app
    person_id bigint, -- whose it is; null: the event names nobody
    ordered_at timestamp not null, -- when, corrected, UTC
    date date not null, -- local date of ordered_at
    revenue_amt decimal(18, 4), -- amount in the currency of the site, with what [site] revenue_includes names; null: unknown
    discount_amt decimal(18, 4), -- discount given, in the currency of the site
    coupon varchar, -- coupon used
    currency varchar, -- currency of the event; null: that of the site
    sales_channel varchar, -- where it was sold, as the event says
    is_first boolean not null, -- the person's first order
    is_unconverted boolean not null, -- no rate for its currency
    has_order_id boolean not null, -- the event carried an order id
    is_bot boolean not null, -- made by a program
    event_no bigint not null, -- the event that won: the first of its order id
    event_id varchar not null, -- the event's id
    seq bigint, -- the client's counter
    session_no bigint -- the session that holds it; null: none
);

with told as (
    select
        e.event_no, e.event_id, e.seq, e.source, e.event_at, e.date, p.person_id, p.session_no, p.is_bot,
        nullif(json_extract_string(e.properties, '$.order_id'), '') as order_id,
        try_cast(json_extract_string(e.properties, '$.revenue') as decimal(18, 4)) as revenue,
        try_cast(json_extract_string(e.properties, '$.total') as decimal(18, 4)) as total,
        try_cast(json_extract_string(e.properties, '$.tax') as decimal(18, 4)) as tax,
        try_cast(json_extract_string(e.properties, '$.shipping') as decimal(18, 4)) as shipping,
        try_cast(json_extract_string(e.properties, '$.value') as decimal(18, 4)) as value,
        try_cast(json_extract_string(e.properties, '$.discount') as decimal(18, 4)) as discount,
        json_extract_string(e.properties, '$.coupon') as coupon,
        upper(json_extract_string(e.properties, '$.currency')) as currency,
        coalesce(
            json_extract_string(e.properties, '$.sales_channel'), json_extract_string(e.properties, '$.affiliation')
        ) as sales_channel
    from order_events as e
    inner join order_placements as p on e.event_no = p.event_no
    where
        e.event_no in (select key from touched_orders) and e.name = 'Order Completed'
        and coalesce(json_extract_string(e.properties, '$.test'), 'false') <> 'true'
),

firsts as (
    select *
    from told
    qualify row_number() over (
        partition by source, coalesce(order_id, event_id) order by event_at, seq nulls last, event_id, event_no
    ) = 1
),

rated as (
    select
        f.*,
        case
            when f.currency is null or f.currency = $currency then 1
            else cast(r.rate as decimal(18, 8))
        end as rate
    from firsts as f
    asof left join rules.currency_rates as r on f.currency = r.currency and f.date >= r.date
)

select
    coalesce(order_id, event_id) as order_id,
    source,
    person_id,
    event_at as ordered_at,
    date,
    try_cast(
        coalesce(
            coalesce(revenue, total - coalesce(tax, 0) - coalesce(shipping, 0))
            + case when $with_tax then coalesce(tax, 0) else 0 end
            + case when $with_shipping then coalesce(shipping, 0) else 0 end,
            value
        ) * rate as decimal(18, 4)
    ) as revenue_amt,
    try_cast(discount * rate as decimal(18, 4)) as discount_amt,
    coupon,
    currency,
    sales_channel,
    rate is null as is_unconverted,
    order_id is not null as has_order_id,
    is_bot,
    event_no,
    event_id,
    seq,
    session_no
from rated
