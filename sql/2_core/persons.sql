-- grain: one row per person
-- inputs: core.placements, core.sessions, core.orders, core.refunds, core.users
-- surprising row: a person whose sessions are all a program's is here too, with is_bot true
-- reach: the row of the person touched
create table if not exists core.persons (
    person_id bigint not null, -- keyed hash of the user id, or of source and anonymous id
    is_known boolean not null, -- a customer who has named himself
    id_kind varchar not null, -- known, daily (an id that lives for a day), device
    first_seen_at timestamp not null, -- first event, UTC
    last_seen_at timestamp not null, -- last event, UTC
    session_n bigint not null, -- sessions
    order_n bigint not null, -- orders
    revenue_amt decimal(38, 4) not null, -- known order amounts less refunds
    first_page_no bigint, -- event_no of the first page or screen event ever; null: none, or daily ids only
    first_page_date date, -- its local date
    is_bot boolean not null -- every event is a program's
);

with seen as (
    select
        person_id,
        min(event_at) as first_seen_at,
        max(event_at) as last_seen_at,
        bool_and(is_daily) as is_daily,
        bool_and(is_bot) as is_bot
    from people_placements
    where person_id in (select key from touched_persons)
    group by person_id
),

pages as (
    select p.person_id, p.event_no, p.date, p.event_at, e.seq, e.event_id, e.source
    from people_placements as p
    inner join people_events as e on p.event_no = e.event_no
    where p.person_id in (select key from touched_persons) and p.is_page and not p.is_daily
),

first_pages as (
    select person_id, event_no, date
    from pages
    qualify row_number() over (
        partition by person_id order by event_at, seq nulls last, event_id, source, event_no
    ) = 1
),

sessions as (
    select person_id, count(*) as session_n
    from people_sessions
    where person_id in (select key from touched_persons)
    group by person_id
),

orders as (
    select person_id, count(*) as order_n, sum(revenue_amt) as order_amt
    from core.orders
    where person_id in (select key from touched_persons)
    group by person_id
),

refunds as (
    select person_id, sum(refund_amt) as refund_amt
    from core.refunds
    where person_id in (select key from touched_persons)
    group by person_id
)

select
    s.person_id,
    u.person_id is not null as is_known,
    case when u.person_id is not null then 'known' when s.is_daily then 'daily' else 'device' end as id_kind,
    s.first_seen_at,
    s.last_seen_at,
    coalesce(n.session_n, 0) as session_n,
    coalesce(o.order_n, 0) as order_n,
    coalesce(o.order_amt, 0) - coalesce(r.refund_amt, 0) as revenue_amt,
    f.event_no as first_page_no,
    f.date as first_page_date,
    s.is_bot
from seen as s
left join core.users as u on s.person_id = u.person_id
left join first_pages as f on s.person_id = f.person_id
left join sessions as n on s.person_id = n.person_id
left join orders as o on s.person_id = o.person_id
left join refunds as r on s.person_id = r.person_id
