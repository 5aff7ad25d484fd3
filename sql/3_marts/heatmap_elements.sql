-- grain: one row per source, path, date and selector of an element that was clicked
-- inputs: core.pointer, core.pages, core.friction, core.signals of the touched dates
-- surprising row: clicks of clients that see only the place, not the element, are under the selector (none)
-- reach: the dates of the sessions touched
create table if not exists marts.heatmap_elements (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date
    selector varchar not null, -- path of the element in the page, cut at 500 characters; (none): not known
    fingerprint varchar, -- what stays the same of the element when the page changes; of several the last in the alphabet
    text varchar, -- what the element says; of several the last in the alphabet
    click_n double not null, -- clicks, each counted for as many as it stands for
    raw_n bigint not null, -- clicks received
    rage_n double, -- bursts of clicks on the same place; null: not known
    dead_n double, -- clicks after which nothing happened; null: not known
    is_complete boolean not null -- the date has ended
);

with seen as (
    select
        g.source, g.path, p.date, coalesce(p.selector, '(none)') as selector, p.fingerprint, p.text, p.weight, p.capture,
        bool_or(p.capture <> 'point') over (partition by g.source, p.date) as has_elements
    from core.pointer as p
    inner join core.pages as g on p.page_no = g.page_no
    where p.kind = 0 and not p.is_bot and p.date in (select date from touched_dates)
),

-- One physical click may come as an element and again as a point: points count where nothing else comes.
clicked as (
    select
        source, path, date, selector,
        max(fingerprint) as fingerprint,
        max(text) as text,
        sum(weight) as click_n,
        count(*) as raw_n
    from seen
    where capture <> 'point' or not has_elements
    group by source, path, date, selector
),

stuck as (
    select
        source, path, date, coalesce(selector, '(none)') as selector,
        sum(weight) filter (where kind = 'rage') as rage_n,
        sum(weight) filter (where kind = 'dead') as dead_n
    from core.friction
    where kind in ('rage', 'dead') and date in (select date from touched_dates)
    group by source, path, date, coalesce(selector, '(none)')
),

reported as (
    select
        source, date,
        bool_or(signal in ('rage', 'click')) as has_rage,
        bool_or(signal = 'dead') as has_dead
    from core.signals
    where date in (select date from touched_dates)
    group by source, date
)

select
    coalesce(c.source, s.source) as source,
    coalesce(c.path, s.path) as path,
    coalesce(c.date, s.date) as date,
    coalesce(c.selector, s.selector) as selector,
    c.fingerprint,
    c.text,
    coalesce(c.click_n, 0) as click_n,
    coalesce(c.raw_n, 0) as raw_n,
    case when r.has_rage then coalesce(s.rage_n, 0) end as rage_n,
    case when r.has_dead then coalesce(s.dead_n, 0) end as dead_n,
    t.ends_at <= $horizon as is_complete
from clicked as c
full join stuck as s
    on c.source = s.source and c.path = s.path and c.date = s.date and c.selector = s.selector
inner join touched_dates as t on coalesce(c.date, s.date) = t.date
left join reported as r on coalesce(c.source, s.source) = r.source and coalesce(c.date, s.date) = r.date
