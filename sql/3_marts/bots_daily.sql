-- grain: one row per source, date, bot_kind and bot_rule: programs as an audience of their own
-- inputs: core.placements, core.events, core.sessions of the touched dates; $horizon
-- surprising row: an event that no rule names stands under the rule that flagged its session
-- reach: the local dates of the changed events and sessions
create table if not exists marts.bots_daily (
    source varchar not null, -- configured name of the site or app
    date date not null, -- local date
    bot_kind varchar not null, -- crawler, ai_agent, monitor, script
    bot_rule varchar not null, -- the rule that flagged it
    visitor_n bigint not null, -- distinct programs with a page view; does not add up over rows or dates
    session_n bigint not null, -- sessions that start on the date
    page_view_n bigint not null, -- page and screen events
    event_n bigint not null, -- all events
    is_complete boolean not null -- the date is over at the horizon
);

with flagged as (
    select
        p.source, p.date, p.person_id, p.is_page,
        coalesce(e.bot_kind, s.bot_kind) as bot_kind,
        coalesce(e.bot_rule, s.bot_rule) as bot_rule
    from core.placements as p
    inner join core.events as e on p.event_no = e.event_no
    left join core.sessions as s on p.session_no = s.session_no
    where p.is_bot and p.date in (select date from touched_dates) and e.date in (select date from touched_dates)
),

happened as (
    select
        source, date, bot_kind, bot_rule,
        count(distinct person_id) filter (where is_page) as visitor_n,
        count(*) filter (where is_page) as page_view_n,
        count(*) as event_n
    from flagged
    group by source, date, bot_kind, bot_rule
),

started as (
    select source, date, bot_kind, bot_rule, count(*) as session_n
    from core.sessions
    where is_bot and date in (select date from touched_dates)
    group by source, date, bot_kind, bot_rule
),

joined as (
    select
        coalesce(h.source, s.source) as source,
        coalesce(h.date, s.date) as date,
        coalesce(h.bot_kind, s.bot_kind) as bot_kind,
        coalesce(h.bot_rule, s.bot_rule) as bot_rule,
        coalesce(h.visitor_n, 0) as visitor_n,
        coalesce(s.session_n, 0) as session_n,
        coalesce(h.page_view_n, 0) as page_view_n,
        coalesce(h.event_n, 0) as event_n
    from happened as h
    full join started as s
        on h.source = s.source and h.date = s.date and h.bot_kind = s.bot_kind and h.bot_rule = s.bot_rule
)

select
    j.source,
    j.date,
    j.bot_kind,
    j.bot_rule,
    j.visitor_n,
    j.session_n,
    j.page_view_n,
    j.event_n,
    t.ends_at <= $horizon as is_complete
from joined as j
inner join touched_dates as t on j.date = t.date
