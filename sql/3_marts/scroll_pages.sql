-- grain: one row per source, path, date and viewport_band with page views of sessions
-- inputs: core.page_views of the touched dates; glimpses, which transforms/scroll.py makes of core.scrolls
-- surprising row: attention_ms of all bands in marts.scroll_reach and unplaced_ms here make engaged_visible_ms
-- reach: the dates of the sessions touched
create table if not exists marts.scroll_pages (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date on which the page view began
    viewport_band varchar not null, -- mobile, tablet, desktop; (none): no viewport was said
    view_n bigint not null, -- page views
    known_n bigint not null, -- page views whose depth is known
    unknown_n bigint not null, -- page views whose depth is not: no scroll signal, or no height of the page
    depth_p25 double, -- share of the page that a quarter of the known page views did not get beyond
    depth_p50 double, -- median of the share of the page that was seen
    depth_p75 double, -- share of the page that a quarter of the known page views got beyond
    depth_p90 double, -- share of the page that a tenth of the known page views got beyond
    engaged_visible_ms double, -- visible and focused milliseconds; null: the tracker does not say
    unplaced_ms double, -- of them those of which it is not known where on the page; null as engaged_visible_ms
    clipped_n bigint not null, -- reports of engaged time that were longer than the time since the last one
    invalid_n bigint not null, -- values of scrolling and engaged time that were negative, not finite or huge
    is_complete boolean not null -- the date has ended
);

with views as (
    select
        source, path, date, viewport_band,
        count(*) filter (where is_page) as view_n,
        count(depth) filter (where is_page) as known_n,
        quantile_cont(depth, [0.25, 0.5, 0.75, 0.9]) filter (where is_page) as depths,
        sum(engaged_ms) as engaged_visible_ms,
        sum(clipped_n) as clipped_n,
        sum(invalid_n) as invalid_n
    from core.page_views
    where date in (select date from touched_dates)
    group by source, path, date, viewport_band
),

unplaced as (
    select source, path, date, viewport_band, sum(attention_ms) as unplaced_ms
    from glimpses
    where depth_band is null
    group by source, path, date, viewport_band
)

select
    v.source,
    v.path,
    v.date,
    v.viewport_band,
    v.view_n,
    v.known_n,
    v.view_n - v.known_n as unknown_n,
    v.depths[1] as depth_p25,
    v.depths[2] as depth_p50,
    v.depths[3] as depth_p75,
    v.depths[4] as depth_p90,
    v.engaged_visible_ms,
    case when v.engaged_visible_ms is not null then coalesce(u.unplaced_ms, 0) end as unplaced_ms,
    cast(v.clipped_n as bigint) as clipped_n,
    cast(v.invalid_n as bigint) as invalid_n,
    t.ends_at <= $horizon as is_complete
from views as v
inner join touched_dates as t on v.date = t.date
left join unplaced as u
    on v.source = u.source and v.path = u.path and v.date = u.date and v.viewport_band = u.viewport_band
