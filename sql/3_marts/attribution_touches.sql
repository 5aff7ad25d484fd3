-- grain: one row per conversion or refund, model, and touch that gets credit
-- inputs: temp tables conversions and credits
-- surprising row: a conversion that no touch precedes has touch_no 0 and the channel (unattributed)
-- reach: the conversions of the persons touched; without person those of the dates touched
create table if not exists marts.attribution_touches (
    model varchar not null, -- first, last, last_non_direct, linear
    event_no bigint not null, -- the conversion's event
    event_id varchar not null, -- the conversion's event id
    source varchar not null, -- configured name of the site or app
    conversion varchar not null, -- name of the key event; of a refund Order Refunded
    is_refund boolean not null, -- gives back what an order brought, under the credits of that order
    person_id bigint, -- whose it is; of a refund whose the order was; null: it names nobody
    converted_at timestamp not null, -- when, UTC
    date date not null, -- local date of converted_at
    touch_no integer not null, -- number of the touch among those of the conversion, from 1; 0: there is none
    touch_n integer not null, -- touches of the conversion
    touched_at timestamp, -- start of the session, or time of the event, UTC
    touch varchar not null, -- session, the name of the event, or (none)
    session_id varchar, -- the session; null: the touch is an event
    channel varchar not null, -- channel of the touch; (none): a session without a page
    campaign varchar, -- campaign of the touch as tagged
    credit double not null, -- share of the conversion; those of a model add up to 1
    revenue_amt decimal(18, 4) -- share of its amount, of a refund negative; adds up to it exactly; null: no amount known
);

with shared as (
    select
        c.*, k.model, k.touch_no, k.touch_n, k.touched_at, k.touch, k.session_id, k.channel, k.campaign,
        coalesce(k.share_n, 1) as share_n,
        coalesce(k.share_no, 1) as share_no
    from conversions as c
    inner join credits as k on c.event_no = k.event_no
)

select
    model,
    event_no,
    event_id,
    source,
    conversion,
    is_refund,
    person_id,
    converted_at,
    date,
    touch_no,
    touch_n,
    touched_at,
    touch,
    session_id,
    channel,
    campaign,
    1.0 / share_n as credit,
    -- Differences of rounded running sums, so that the parts add up to the whole.
    cast(
        case when share_no = share_n then value_amt else cast(value_amt * share_no / share_n as decimal(18, 4)) end
        - case when share_no = 1 then 0 else cast(value_amt * (share_no - 1) / share_n as decimal(18, 4)) end
        as decimal(18, 4)
    ) as revenue_amt
from shared
