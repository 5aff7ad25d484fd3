-- grain: one row per source, or (all), and local day, ISO week or month, and kind of visitor
-- inputs: marts.traffic_daily, core.visitor_days
-- surprising row: visitor_n is counted anew, so it is less than the sum over the days
-- reach: the periods that hold a changed date; ripens at the end of the period
create table if not exists marts.traffic_totals (
    source varchar not null, -- configured name of the site or app; (all) for all together
    period varchar not null, -- day, week, month
    period_start date not null, -- first local date of the period; weeks begin on Monday
    is_bot boolean not null, -- made by programs
    visitor_n bigint not null, -- distinct persons with a page view; does not add up over rows or dates
    new_visitor_n bigint not null, -- persons whose first page view ever is here
    converted_visitor_n bigint not null, -- visitors with a key event in the period
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
    is_complete boolean not null -- the period is over at the horizon
);

with days as (
    select t.*, p.period, p.period_start, p.ends_at
    from marts.traffic_daily as t
    inner join touched_periods as p on t.date >= p.period_start and t.date < p.until_date
),

added as (
    select
        coalesce(source, '(all)') as source,
        period, period_start, is_bot,
        any_value(ends_at) <= $horizon as is_complete,
        sum(new_visitor_n) as new_visitor_n,
        sum(session_n) as session_n,
        sum(closed_session_n) as closed_session_n,
        sum(page_session_n) as page_session_n,
        sum(engaged_session_n) as engaged_session_n,
        sum(converted_session_n) as converted_session_n,
        sum(bounce_n) as bounce_n,
        sum(page_view_n) as page_view_n,
        sum(event_n) as event_n,
        sum(unidentified_n) as unidentified_n,
        sum(order_n) as order_n,
        sum(priced_order_n) as priced_order_n,
        sum(unconverted_n) as unconverted_n,
        sum(order_amt) as order_amt,
        sum(refund_amt) as refund_amt,
        sum(revenue_amt) as revenue_amt,
        sum(closed_s) as closed_s,
        sum(engaged_known_n) as engaged_known_n,
        sum(engaged_total_s) as engaged_total_s
    from days
    group by grouping sets ((source, period, period_start, is_bot), (period, period_start, is_bot))
),

visits as (
    select v.source, p.period, p.period_start, v.is_bot, v.person_id, bool_or(v.has_key) as has_key
    from core.visitor_days as v
    inner join touched_periods as p on v.date >= p.period_start and v.date < p.until_date
    group by v.source, p.period, p.period_start, v.is_bot, v.person_id
),

visitors as (
    select
        coalesce(source, '(all)') as source,
        period, period_start, is_bot,
        count(distinct person_id) as visitor_n,
        count(distinct person_id) filter (where has_key) as converted_visitor_n
    from visits
    group by grouping sets ((source, period, period_start, is_bot), (period, period_start, is_bot))
),

joined as (
    select
        a.*,
        coalesce(v.visitor_n, 0) as visitor_n,
        coalesce(v.converted_visitor_n, 0) as converted_visitor_n
    from added as a
    left join visitors as v
        on
            a.source = v.source and a.period = v.period
            and a.period_start = v.period_start and a.is_bot = v.is_bot
)

select
    source,
    period,
    period_start,
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
from joined
