-- grain: one row per source, local date, channel, device, country and kind of visitor (human or program)
-- inputs: core.placements, core.sessions, core.visitor_days, core.orders, core.refunds
-- surprising row: an order that a server sent, in no session, stands under channel (none)
-- reach: the local dates of the changed events, sessions, orders and new visitors; ripens at the end of the date
create table if not exists marts.traffic_daily (
    source varchar not null, -- configured name of the site or app
    date date not null, -- local date
    channel varchar not null, -- channel of the session; (none) without one
    device varchar not null, -- device of the session; (none) without one
    country varchar not null, -- country of the session; (none) without one
    is_bot boolean not null, -- made by programs
    visitor_n bigint not null, -- distinct persons with a page view; does not add up over rows or dates
    new_visitor_n bigint not null, -- persons whose first page view ever is here
    converted_visitor_n bigint not null, -- visitors with a key event on the date
    session_n bigint not null, -- sessions that start here, open ones too
    closed_session_n bigint not null, -- of them, those that are over
    page_session_n bigint not null, -- closed sessions with a page view
    engaged_session_n bigint not null, -- closed sessions of 10 engaged seconds, a key event or two page views
    converted_session_n bigint not null, -- closed sessions with a key event
    bounce_n bigint not null, -- closed sessions with one page view and nothing done
    page_view_n bigint not null, -- page and screen events
    event_n bigint not null, -- all events
    unidentified_n bigint not null, -- events that name neither device nor customer
    order_n bigint not null, -- orders
    priced_order_n bigint not null, -- orders whose amount is known
    unconverted_n bigint not null, -- orders in a currency without a rate
    order_amt decimal(38, 4) not null, -- amounts of the orders, with what [site] revenue_includes names
    refund_amt decimal(38, 4) not null, -- amounts given back
    revenue_amt decimal(38, 4) not null, -- order amounts less refunds, each on its own date
    closed_s double not null, -- length of the closed sessions
    engaged_known_n bigint not null, -- closed sessions whose engaged time is known
    engaged_total_s double not null, -- their engaged time
    bounce_pct double, -- bounces of the closed sessions with a page view
    engagement_pct double, -- engaged ones of the closed sessions
    conversion_pct double, -- closed sessions with a key event
    visitor_conversion_pct double, -- visitors with a key event
    aov_amt double, -- mean amount of the orders whose amount is known
    session_s double, -- mean length of a closed session
    engaged_s double, -- mean engaged time of the closed sessions where it is known
    is_complete boolean not null -- the date is over at the horizon
);

with viewed as (
    select
        source, date, channel, device, country, is_bot,
        count(*) as visitor_n,
        count(*) filter (where is_new) as new_visitor_n,
        count(*) filter (where has_key) as converted_visitor_n
    from core.visitor_days
    where date in (select date from touched_dates)
    group by source, date, channel, device, country, is_bot
),

started as (
    select
        source, date,
        coalesce(channel, '(none)') as channel,
        coalesce(device, '(none)') as device,
        coalesce(country, '(none)') as country,
        is_bot,
        count(*) as session_n,
        count(*) filter (where not is_open) as closed_session_n,
        count(*) filter (where not is_open and page_view_n > 0) as page_session_n,
        count(*) filter (where not is_open and is_engaged) as engaged_session_n,
        count(*) filter (where not is_open and is_converted) as converted_session_n,
        count(*) filter (where is_bounce) as bounce_n,
        coalesce(sum(duration_s) filter (where not is_open), 0) as closed_s,
        count(coalesce(engaged_visible_ms, engaged_ping_s)) filter (where not is_open) as engaged_known_n,
        coalesce(sum(coalesce(engaged_visible_ms / 1000.0, engaged_ping_s)) filter (where not is_open), 0)
            as engaged_total_s
    from core.sessions
    where date in (select date from touched_dates)
    group by all
),

-- Events, orders and refunds take their dimensions from the session that holds them.
happened as (
    select
        p.source, p.date,
        coalesce(s.channel, '(none)') as channel,
        coalesce(s.device, '(none)') as device,
        coalesce(s.country, '(none)') as country,
        p.is_bot,
        count(*) filter (where p.is_page) as page_view_n,
        count(*) as event_n,
        count(*) filter (where p.person_id is null) as unidentified_n
    from core.placements as p
    left join core.sessions as s on p.session_no = s.session_no
    where p.date in (select date from touched_dates)
    group by all
),

ordered as (
    select
        o.source, o.date,
        coalesce(s.channel, '(none)') as channel,
        coalesce(s.device, '(none)') as device,
        coalesce(s.country, '(none)') as country,
        o.is_bot,
        count(*) as order_n,
        count(o.revenue_amt) as priced_order_n,
        count(*) filter (where o.is_unconverted) as unconverted_n,
        coalesce(sum(o.revenue_amt), 0) as order_amt
    from core.orders as o
    left join core.sessions as s on o.session_no = s.session_no
    where o.date in (select date from touched_dates)
    group by all
),

refunded as (
    select
        r.source, r.date,
        coalesce(s.channel, '(none)') as channel,
        coalesce(s.device, '(none)') as device,
        coalesce(s.country, '(none)') as country,
        r.is_bot,
        coalesce(sum(r.refund_amt), 0) as refund_amt
    from core.refunds as r
    left join core.sessions as s on r.session_no = s.session_no
    where r.date in (select date from touched_dates)
    group by all
),

gathered as (
    select * from viewed
    union all by name
    select * from started
    union all by name
    select * from happened
    union all by name
    select * from ordered
    union all by name
    select * from refunded
),

summed as (
    select
        g.source, g.date, g.channel, g.device, g.country, g.is_bot,
        any_value(d.ends_at) <= $horizon as is_complete,
        coalesce(sum(g.visitor_n), 0) as visitor_n,
        coalesce(sum(g.new_visitor_n), 0) as new_visitor_n,
        coalesce(sum(g.converted_visitor_n), 0) as converted_visitor_n,
        coalesce(sum(g.session_n), 0) as session_n,
        coalesce(sum(g.closed_session_n), 0) as closed_session_n,
        coalesce(sum(g.page_session_n), 0) as page_session_n,
        coalesce(sum(g.engaged_session_n), 0) as engaged_session_n,
        coalesce(sum(g.converted_session_n), 0) as converted_session_n,
        coalesce(sum(g.bounce_n), 0) as bounce_n,
        coalesce(sum(g.page_view_n), 0) as page_view_n,
        coalesce(sum(g.event_n), 0) as event_n,
        coalesce(sum(g.unidentified_n), 0) as unidentified_n,
        coalesce(sum(g.order_n), 0) as order_n,
        coalesce(sum(g.priced_order_n), 0) as priced_order_n,
        coalesce(sum(g.unconverted_n), 0) as unconverted_n,
        coalesce(sum(g.order_amt), 0) as order_amt,
        coalesce(sum(g.refund_amt), 0) as refund_amt,
        coalesce(sum(g.closed_s), 0) as closed_s,
        coalesce(sum(g.engaged_known_n), 0) as engaged_known_n,
        coalesce(sum(g.engaged_total_s), 0) as engaged_total_s,
        coalesce(sum(g.order_amt), 0) - coalesce(sum(g.refund_amt), 0) as revenue_amt
    from gathered as g
    inner join touched_dates as d on g.date = d.date
    group by g.source, g.date, g.channel, g.device, g.country, g.is_bot
)

select
    source,
    date,
    channel,
    device,
    country,
    is_bot,
    visitor_n,
    new_visitor_n,
    converted_visitor_n,
    session_n,
    closed_session_n,
    page_session_n,
    engaged_session_n,
    converted_session_n,
    bounce_n,
    page_view_n,
    event_n,
    unidentified_n,
    order_n,
    priced_order_n,
    unconverted_n,
    order_amt,
    refund_amt,
    revenue_amt,
    closed_s,
    engaged_known_n,
    engaged_total_s,
    case when is_complete then bounce_n / nullif(page_session_n, 0) end as bounce_pct,
    case when is_complete then engaged_session_n / nullif(closed_session_n, 0) end as engagement_pct,
    case when is_complete then converted_session_n / nullif(closed_session_n, 0) end as conversion_pct,
    case when is_complete then converted_visitor_n / nullif(visitor_n, 0) end as visitor_conversion_pct,
    case when is_complete then cast(order_amt as double) / nullif(priced_order_n, 0) end as aov_amt,
    case when is_complete then closed_s / nullif(closed_session_n, 0) end as session_s,
    case when is_complete then engaged_total_s / nullif(engaged_known_n, 0) end as engaged_s,
    is_complete
from summed
