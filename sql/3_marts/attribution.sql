-- grain: one row per model, month and channel
-- inputs: marts.attribution_touches, core.ad_spend; temp table attribution_months; $horizon
-- surprising row: a channel with spend and no conversion has conversion_n 0; (unmapped) holds spend without a channel
-- reach: the months of the changed conversions and of new spend
create table if not exists marts.attribution (
    model varchar not null, -- first, last, last_non_direct, linear
    month date not null, -- first local date of the month of the conversions
    channel varchar not null, -- channel of the touches; (unattributed): no touch; (unmapped): spend without a channel
    conversion_n double not null, -- conversions, by their credits; refunds take none away
    revenue_amt decimal(38, 4) not null, -- known amounts, by their credits, less refunds on their own dates
    spend_amt decimal(38, 4), -- what the channel cost; null: no Ad Spend event in the whole month
    roas double, -- revenue_amt by spend_amt; null without spend, and until the month is over
    unconverted_n bigint not null, -- Ad Spend events in a currency without a rate: they are not in spend_amt
    is_complete boolean not null -- the month is over at the horizon
);

with credited as (
    select
        t.model, m.month, t.channel,
        -- exact shares, rounded once: floats add up to something else in another order
        coalesce(round(cast(sum(cast(t.credit as decimal(38, 15))) filter (where not t.is_refund) as double), 9), 0)
            as conversion_n,
        coalesce(sum(t.revenue_amt), 0) as revenue_amt
    from marts.attribution_touches as t
    inner join attribution_months as m on t.date >= m.month and t.date < m.next_month
    group by t.model, m.month, t.channel
),

spent as (
    select
        m.month, s.channel,
        coalesce(sum(s.spend_amt), 0) as spend_amt,
        count(*) filter (where s.is_unconverted) as unconverted_n
    from core.ad_spend as s
    inner join attribution_months as m on s.date >= m.month and s.date < m.next_month
    group by m.month, s.channel
),

models as (
    select unnest(['first', 'last', 'last_non_direct', 'linear']) as model
),

rows_of_spend as (
    select models.model, spent.*
    from spent
    cross join models
),

joined as (
    select
        coalesce(c.model, s.model) as model,
        coalesce(c.month, s.month) as month,
        coalesce(c.channel, s.channel) as channel,
        coalesce(c.conversion_n, 0) as conversion_n,
        coalesce(c.revenue_amt, 0) as revenue_amt,
        s.spend_amt,
        coalesce(s.unconverted_n, 0) as unconverted_n
    from credited as c
    full join rows_of_spend as s on c.model = s.model and c.month = s.month and c.channel = s.channel
),

priced as (
    select
        j.model, j.month, j.channel, j.conversion_n, j.revenue_amt, j.unconverted_n,
        case when j.month in (select month from spent) then coalesce(j.spend_amt, 0) end as spend_amt,
        m.month_end_at <= $horizon as is_complete
    from joined as j
    inner join attribution_months as m on j.month = m.month
)

select
    model,
    month,
    channel,
    conversion_n,
    revenue_amt,
    spend_amt,
    case when is_complete then cast(revenue_amt as double) / nullif(cast(spend_amt as double), 0) end as roas,
    unconverted_n,
    is_complete
from priced
