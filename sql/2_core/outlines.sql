-- grain: one row per source, path, viewport_band and date on which the page was outlined: the latest outline of that date
-- inputs: core.events, core.placements of the touched dates
-- surprising row: outlines that programs send do not count
-- reach: own date; the bot flag: the dates of the sessions touched
create table if not exists core.outlines (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    viewport_band varchar not null, -- mobile, tablet, desktop; (none): no viewport was said
    date date not null, -- local date
    event_no bigint not null, -- the event with the boxes
    outlined_at timestamp not null, -- when, UTC
    place struct(seq bigint, event_id varchar) not null -- orders outlines of the same moment
);

with outlined as (
    select
        e.source, coalesce(e.path, '(none)') as path, e.date, e.event_no, e.event_at,
        struct_pack(seq := coalesce(e.seq, 9223372036854775807), event_id := e.event_id) as place,
        case
            when coalesce(e.viewport_w, 0) = 0 then '(none)'
            when e.viewport_w < 768 then 'mobile'
            when e.viewport_w < 1024 then 'tablet'
            else 'desktop'
        end as viewport_band
    from core.events as e
    inner join core.placements as o on e.event_no = o.event_no
    where
        e.name = 'Page Outlined' and not o.is_bot
        and e.date in (select date from touched_dates) and o.date in (select date from touched_dates)
)

select source, path, viewport_band, date, event_no, event_at as outlined_at, place
from outlined
qualify row_number() over (
    partition by source, path, viewport_band, date order by event_at desc, place desc, event_no desc
) = 1
