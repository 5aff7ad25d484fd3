-- grain: one row per Ad Spend event: what an advertisement cost on a day
-- inputs: core.events, rules.currency_rates; temp table spend_channels
-- surprising row: spend whose channel cannot be told stands under (unmapped), so that none is lost
-- reach: nothing else
create table if not exists core.ad_spend (
    event_no bigint not null, -- the event
    event_id varchar not null, -- the event's id
    source varchar not null, -- configured name of the site or app
    spent_at timestamp not null, -- when, corrected, UTC
    date date not null, -- local date of spent_at
    channel varchar not null, -- the channel that the event names, else that of its source and medium; (unmapped)
    campaign varchar, -- name of the campaign
    spend_amt decimal(18, 4), -- cost in the currency of the site; null: not said, or no rate for its currency
    is_unconverted boolean not null -- no rate for its currency
);

with told as (
    select
        e.event_no, e.event_id, e.source, e.event_at, e.date, c.channel, c.utm_campaign as campaign,
        try_cast(coalesce(
            json_extract_string(e.properties, '$.cost'),
            json_extract_string(e.properties, '$.spend'),
            json_extract_string(e.properties, '$.amount'),
            json_extract_string(e.properties, '$.value')
        ) as decimal(18, 4)) as cost,
        upper(json_extract_string(e.properties, '$.currency')) as currency
    from core.events as e
    inner join spend_channels as c on e.event_no = c.event_no
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
    event_no,
    event_id,
    source,
    event_at as spent_at,
    date,
    channel,
    campaign,
    try_cast(cost * rate as decimal(18, 4)) as spend_amt,
    rate is null as is_unconverted
from rated
