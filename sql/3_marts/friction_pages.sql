-- grain: one row per source, path and date with page views or friction
-- inputs: core.placements, core.events, core.friction, core.signals of the touched dates
-- surprising row: 0 means looked for and not found; null means that no client of the source reports it on that date
-- reach: the dates of the sessions touched
create table if not exists marts.friction_pages (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date
    view_n bigint not null, -- page views
    rage_n double, -- bursts of clicks on the same place; null: not known
    dead_n double, -- clicks after which nothing happened; null: not known
    quick_back_n bigint not null, -- page views left within seconds for the page before
    excessive_scroll_n bigint, -- page views scrolled up and down over and over; null: not known
    error_n bigint, -- errors, one for each page view and message; null: not known
    is_complete boolean not null -- the date has ended
);

with views as (
    select e.source, coalesce(e.path, '(none)') as path, e.date, count(*) as view_n
    from core.placements as o
    inner join core.events as e on o.event_no = e.event_no
    where
        o.is_page and not o.is_bot
        and o.date in (select date from touched_dates) and e.date in (select date from touched_dates)
    group by e.source, coalesce(e.path, '(none)'), e.date
),

stuck as (
    select
        source, path, date,
        sum(weight) filter (where kind = 'rage') as rage_n,
        sum(weight) filter (where kind = 'dead') as dead_n,
        count(*) filter (where kind = 'quick_back') as quick_back_n,
        count(*) filter (where kind = 'excessive_scroll') as excessive_scroll_n,
        count(*) filter (where kind = 'error') as error_n
    from core.friction
    where date in (select date from touched_dates)
    group by source, path, date
),

reported as (
    select
        source, date,
        bool_or(signal in ('rage', 'click')) as has_rage,
        bool_or(signal = 'dead') as has_dead,
        bool_or(signal = 'scroll_reversals') as has_reversals,
        bool_or(signal = 'error') as has_error
    from core.signals
    where date in (select date from touched_dates)
    group by source, date
)

select
    coalesce(v.source, s.source) as source,
    coalesce(v.path, s.path) as path,
    coalesce(v.date, s.date) as date,
    coalesce(v.view_n, 0) as view_n,
    case when r.has_rage then coalesce(s.rage_n, 0) end as rage_n,
    case when r.has_dead then coalesce(s.dead_n, 0) end as dead_n,
    coalesce(s.quick_back_n, 0) as quick_back_n,
    case when r.has_reversals then coalesce(s.excessive_scroll_n, 0) end as excessive_scroll_n,
    case when r.has_error then coalesce(s.error_n, 0) end as error_n,
    t.ends_at <= $horizon as is_complete
from views as v
full join stuck as s on v.source = s.source and v.path = s.path and v.date = s.date
inner join touched_dates as t on coalesce(v.date, s.date) = t.date
left join reported as r on coalesce(v.source, s.source) = r.source and coalesce(v.date, s.date) = r.date
