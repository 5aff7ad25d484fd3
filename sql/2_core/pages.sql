-- grain: one row per source and path that pointer samples lie on
-- inputs: core.events
-- surprising row: events without a path lie on the path (none)
-- reach: nothing else
create table if not exists core.pages (
    page_no integer not null, -- a number of its own, from 0 in the order in which pages came
    source varchar not null, -- configured name of the site or app
    path varchar not null -- path of the page, (none) where the event has none
);

with pointed as (
    select distinct source, coalesce(path, '(none)') as path
    from core.events
    where
        event_no > $after and event_no <= $upto
        and name in ('Element Clicked', 'Pointer Moved', 'Rage Clicked', 'Dead Clicked')
),

known as (
    select coalesce(max(page_no) + 1, 0) as known_n
    from core.pages
)

select
    k.known_n + row_number() over (order by p.source, p.path) - 1 as page_no,
    p.source,
    p.path
from pointed as p
cross join known as k
where not exists (select 1 from core.pages as g where p.source = g.source and p.path = g.path)
