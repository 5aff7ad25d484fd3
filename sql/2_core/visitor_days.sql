-- grain: one row per person and row of marts.traffic_daily in which he looked at a page
-- inputs: core.placements, core.sessions, core.persons
-- surprising row: a page view without a person has no row; traffic counts it in unidentified_n
-- reach: the local dates of the changed events and sessions
create table if not exists core.visitor_days (
    date date not null, -- local date
    source varchar not null, -- configured name of the site or app
    channel varchar not null, -- of the session that holds the page view
    device varchar not null, -- of that session
    country varchar not null, -- of that session
    is_bot boolean not null, -- of that session
    person_id bigint not null, -- the visitor
    is_new boolean not null, -- his first page view ever is in this row
    has_key boolean not null -- he has a key event on the date in this source
);

with views as (
    select p.date, p.source, p.session_no, p.person_id, p.event_no, p.is_bot
    from core.placements as p
    where p.date in (select date from touched_dates) and p.is_page and p.person_id is not null
),

keyed as (
    select distinct date, source, person_id
    from core.placements
    where date in (select date from touched_dates) and is_key and person_id is not null
)

select
    v.date,
    v.source,
    coalesce(s.channel, '(none)') as channel,
    coalesce(s.device, '(none)') as device,
    coalesce(s.country, '(none)') as country,
    v.is_bot,
    v.person_id,
    coalesce(bool_or(v.event_no = f.first_page_no), false) as is_new,
    bool_or(k.person_id is not null) as has_key
from views as v
left join core.sessions as s on v.session_no = s.session_no
left join core.persons as f on v.person_id = f.person_id
left join keyed as k on v.date = k.date and v.source = k.source and v.person_id = k.person_id
group by v.date, v.source, s.channel, s.device, s.country, v.is_bot, v.person_id
