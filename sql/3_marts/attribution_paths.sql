-- grain: one row per month, outcome and path of channels
-- inputs: marts.attribution_touches, marts.attribution_runs; temp table attribution_months; $horizon, $lookback
-- surprising row: a touch that several conversions follow stands in the path of each
-- reach: the months of the changed conversions and runs
create table if not exists marts.attribution_paths (
    month date not null, -- first local date of the month: of the conversion, else of the last touch
    outcome varchar not null, -- converted, or not_converted: no conversion within the lookback after any touch
    path varchar not null, -- channels of the touches, joined by " > "; equal neighbours once, the last 20 at most
    path_n bigint not null, -- conversions, or ways that came to nothing and are over
    revenue_amt decimal(38, 4) not null, -- known amounts of the conversions; refunds do not count here
    is_complete boolean not null -- the month is over, of not_converted the lookback after it too
);

with touches as (
    select
        t.event_no, m.month, t.touch_no, t.channel, t.revenue_amt,
        coalesce(t.channel <> lag(t.channel) over (partition by t.event_no order by t.touch_no), true) as is_change
    from marts.attribution_touches as t
    inner join attribution_months as m on t.date >= m.month and t.date < m.next_month
    where t.model = 'linear' and not t.is_refund
),

conversions as (
    select
        event_no, month,
        list(channel order by touch_no) filter (where is_change) as channels,
        sum(revenue_amt) as revenue_amt
    from touches
    group by event_no, month
),

ways as (
    select
        month, 'converted' as outcome,
        case when len(channels) > 20 then '(more) > ' else '' end || array_to_string(channels[-20:], ' > ') as path,
        revenue_amt
    from conversions
    union all
    select m.month, 'not_converted' as outcome, r.path, null as revenue_amt
    from marts.attribution_runs as r
    inner join attribution_months as m on r.date >= m.month and r.date < m.next_month
    where not r.is_open
),

counted as (
    select
        month, outcome, path,
        count(*) as path_n,
        coalesce(sum(revenue_amt), 0) as revenue_amt
    from ways
    group by month, outcome, path
)

select
    c.month,
    c.outcome,
    c.path,
    c.path_n,
    c.revenue_amt,
    m.month_end_at + case when c.outcome = 'converted' then interval 0 day else $lookback end <= $horizon as is_complete
from counted as c
inner join attribution_months as m on c.month = m.month
