-- grain: one row per page view of a session: what was seen of one page until the next
-- inputs: core.placements, core.events, core.pointer, core.scrolls of the sessions that touch the touched dates
-- surprising row: a page left open until its session is over has a second row without page event if the visitor comes back to it
-- reach: the dates of the sessions touched
create table if not exists core.page_views (
    view_no bigint not null, -- event_no of its page event, else of its first event
    session_no bigint not null, -- its session
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date of the event of view_no
    viewport_band varchar not null, -- mobile (below 768 pixels), tablet (below 1024), desktop; (none): no viewport was said
    is_page boolean not null, -- it has a page event
    viewport_h integer, -- greatest height of the window, pixels
    document_h integer, -- greatest height of the page, pixels
    depth double, -- share of the page that was seen from its top, 0 to 1; null: not known
    scroll_reversals double, -- changes of the scroll direction; null: the tracker does not say
    engaged_ms double, -- milliseconds visible and focused, each report clipped; null: the tracker does not say
    clipped_n bigint not null, -- reports of engaged time that were longer than the time since the last one
    invalid_n bigint not null -- values of scrolling and engaged time that were negative, not finite or huge
);

with begun as (
    select view_no
    from core.placements
    where date in (select date from touched_dates) and event_no = view_no and not is_bot
),

held as (
    select o.event_no, o.view_no, o.session_no, o.engaged_ms
    from core.placements as o
    where o.date in (select date from near_dates) and o.view_no in (select view_no from begun)
),

told as (
    select
        event_no, source, path, date, is_page, nullif(viewport_w, 0) as viewport_w, nullif(viewport_h, 0) as viewport_h,
        nullif(document_h, 0) as document_h, engaged_ms
    from core.events
    where date in (select date from near_dates)
),

clicks as (
    select event_no, max(scroll_y) as scroll_y
    from core.pointer
    where date in (select date from near_dates)
    group by event_no
),

gathered as (
    select
        h.view_no,
        any_value(h.session_no) as session_no,
        any_value(e.source) as source,
        coalesce(any_value(e.path) filter (where h.event_no = h.view_no), '(none)') as path,
        any_value(e.date) filter (where h.event_no = h.view_no) as date,
        coalesce(any_value(e.viewport_w) filter (where h.event_no = h.view_no), max(e.viewport_w)) as viewport_w,
        bool_or(e.is_page) as is_page,
        max(e.viewport_h) as viewport_h,
        max(e.document_h) as document_h,
        max(s.scroll_max_pct) as scroll_max_pct,
        max(greatest(s.bottom_y, c.scroll_y) + e.viewport_h) as bottom_y,
        max(s.scroll_reversals) as scroll_reversals,
        sum(h.engaged_ms) as engaged_ms,
        count(*) filter (where e.engaged_ms > h.engaged_ms) as clipped_n,
        coalesce(sum(s.invalid_n), 0) + count(*) filter (where e.engaged_ms is not null and h.engaged_ms is null) as invalid_n
    from held as h
    inner join told as e on h.event_no = e.event_no
    left join core.scrolls as s on h.event_no = s.event_no
    left join clicks as c on h.event_no = c.event_no
    group by h.view_no
)

select
    view_no,
    session_no,
    source,
    path,
    date,
    case
        when viewport_w is null then '(none)' when viewport_w < 768 then 'mobile' when viewport_w < 1024 then 'tablet'
        else 'desktop'
    end as viewport_band,
    is_page,
    viewport_h,
    document_h,
    case
        when document_h <= viewport_h then 1
        when scroll_max_pct is not null then scroll_max_pct / 100
        when bottom_y < document_h then bottom_y / document_h
        when bottom_y >= document_h then 1
    end as depth,
    scroll_reversals,
    engaged_ms,
    clipped_n,
    cast(invalid_n as bigint) as invalid_n
from gathered
