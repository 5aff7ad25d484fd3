-- grain: one row per source, path, date, viewport_band and depth_band, all twenty wherever one page view is known
-- inputs: core.page_views of the touched dates; glimpses, which transforms/scroll.py makes of core.scrolls
-- surprising row: band 0 is reached by every page view whose depth is known; those of unknown depth are in marts.scroll_pages
-- reach: the dates of the sessions touched
create table if not exists marts.scroll_reach (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date on which the page view began
    viewport_band varchar not null, -- mobile, tablet, desktop; (none): no viewport was said
    depth_band integer not null, -- twentieth of the page's height from its top, 0 to 19
    view_n bigint not null, -- page views whose depth is known
    reached_n bigint not null, -- of them those that saw more of the page than the bands above this one
    reached_pct double, -- reached_n / view_n
    attention_ms double, -- visible and focused time, divided over the bands in view by their height in it; null: not said
    visible_ms double, -- visible and focused time in which some of the band was in view; null: not said
    is_complete boolean not null -- the date has ended
);

with views as (
    select source, path, date, viewport_band, is_page, depth, engaged_ms
    from core.page_views
    where date in (select date from touched_dates)
),

pages as (
    select
        source, path, date, viewport_band,
        count(*) filter (where is_page and depth is not null) as view_n,
        count(engaged_ms) > 0 as has_engaged
    from views
    group by source, path, date, viewport_band
    having view_n > 0 or has_engaged
),

-- Each page view counts in the lowest band that it saw; with more than that band's top, it also reached all above.
lowest as (
    select
        source, path, date, viewport_band,
        greatest(cast(ceil(round(depth * 20, 9)) as integer) - 1, 0) as depth_band,
        count(*) as view_n
    from views
    where is_page and depth is not null
    group by source, path, date, viewport_band, depth_band
),

attended as (
    select source, path, date, viewport_band, depth_band, sum(attention_ms) as attention_ms, sum(visible_ms) as visible_ms
    from glimpses
    where depth_band is not null
    group by source, path, date, viewport_band, depth_band
),

bands as (
    select *, unnest(range(20)) as depth_band
    from pages
),

counted as (
    select
        b.source, b.path, b.date, b.viewport_band, b.depth_band, b.view_n, b.has_engaged,
        sum(coalesce(l.view_n, 0)) over (
            partition by b.source, b.path, b.date, b.viewport_band order by b.depth_band desc
        ) as reached_n
    from bands as b
    left join lowest as l
        on
            b.source = l.source and b.path = l.path and b.date = l.date and b.viewport_band = l.viewport_band
            and b.depth_band = l.depth_band
)

select
    c.source,
    c.path,
    c.date,
    c.viewport_band,
    cast(c.depth_band as integer) as depth_band,
    c.view_n,
    cast(c.reached_n as bigint) as reached_n,
    c.reached_n / nullif(c.view_n, 0) as reached_pct,
    case when c.has_engaged then coalesce(a.attention_ms, 0) end as attention_ms,
    case when c.has_engaged then coalesce(a.visible_ms, 0) end as visible_ms,
    t.ends_at <= $horizon as is_complete
from counted as c
inner join touched_dates as t on c.date = t.date
left join attended as a
    on
        c.source = a.source and c.path = a.path and c.date = a.date and c.viewport_band = a.viewport_band
        and c.depth_band = a.depth_band
