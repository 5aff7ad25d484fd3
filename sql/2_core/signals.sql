-- grain: one row per source, date and signal that the source's client reports on that date
-- inputs: core.events, core.placements, core.pointer, core.page_views of the touched dates, rules.signals
-- surprising row: what a library is known to report (rules.signals) counts as reported even on a date without any
-- reach: the dates of the sessions touched
create table if not exists core.signals (
    source varchar not null, -- configured name of the site or app
    date date not null, -- local date
    signal varchar not null -- click (with its place), rage, dead, error, scroll_reversals
);

with seen as (
    select distinct e.source, e.date, e.library, e.name
    from core.events as e
    inner join core.placements as o on e.event_no = o.event_no
    where
        not o.is_bot and e.date in (select date from touched_dates) and o.date in (select date from touched_dates)
),

placed as (
    select distinct g.source, p.date
    from core.pointer as p
    inner join core.placements as o on p.event_no = o.event_no
    inner join core.pages as g on p.page_no = g.page_no
    where
        p.kind = 0 and p.x_bin is not null and not o.is_bot
        and p.date in (select date from touched_dates) and o.date in (select date from touched_dates)
),

scrolled as (
    select distinct source, date
    from core.page_views
    where scroll_reversals is not null and date in (select date from touched_dates)
)

select s.source, s.date, r.signal
from seen as s
inner join rules.signals as r on s.library = r.library
where r.signal <> 'ping'
union
select
    source, date,
    case name when 'Rage Clicked' then 'rage' when 'Dead Clicked' then 'dead' else 'error' end as signal
from seen
where name in ('Rage Clicked', 'Dead Clicked', 'Error Raised')
union
select source, date, 'click' as signal
from placed
union
select source, date, 'scroll_reversals' as signal
from scrolled
