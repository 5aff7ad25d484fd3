-- grain: one row per occasion on which a visitor was stuck
-- inputs: core.events, core.placements, core.pointer, core.page_views, core.signals of the sessions on the touched dates
-- surprising row: rage of a client that sends no Rage Clicked is one row for its burst, at the first click
-- reach: the dates of the sessions touched
create table if not exists core.friction (
    event_no bigint not null, -- the event that shows it; the first of several
    kind varchar not null, -- rage, dead, quick_back, excessive_scroll, error
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date of that event
    session_no bigint, -- its session; null: in none
    view_no bigint, -- its page view; null: in no session
    selector varchar, -- path of the element; null: none, or not known
    weight double not null, -- occasions that it stands for: 1 / sample_rate
    is_computed boolean not null -- found in the clicks: the client does not send it
);

with sent as (
    select
        p.event_no, g.source, g.path, p.date, o.session_no, o.view_no, p.selector, p.weight,
        case p.kind when 2 then 'rage' else 'dead' end as kind
    from core.pointer as p
    inner join core.placements as o on p.event_no = o.event_no
    inner join core.pages as g on p.page_no = g.page_no
    where
        -- a point repeats what is told with its element: a label, never another click
        p.kind in (2, 3) and p.capture <> 'point' and not o.is_bot
        and p.date in (select date from touched_dates) and o.date in (select date from touched_dates)
),

clicks as (
    select
        p.event_no, p.date, p.x, p.y, p.selector, p.capture, g.source, g.path, o.session_no, o.view_no, o.event_at,
        bool_or(p.capture = 'both') over (partition by g.source, p.date) as has_both
    from core.pointer as p
    inner join core.placements as o on p.event_no = o.event_no
    inner join core.pages as g on p.page_no = g.page_no
    where
        p.kind = 0 and p.x is not null and o.view_no is not null and not o.is_bot
        and p.date in (select date from near_dates) and o.date in (select date from near_dates)
        and (g.source, p.date) not in (select source, date from core.signals where signal = 'rage')
),

ordered as (
    select
        c.*,
        row_number() over in_view as place,
        coalesce(
            date_diff('microsecond', lag(c.event_at) over in_view, c.event_at) < $within_us
            and abs(c.x - lag(c.x) over in_view) + abs(c.y - lag(c.y) over in_view) < $within_px,
            false
        ) as goes_on
    from clicks as c
    inner join core.events as e on c.event_no = e.event_no
    where c.capture = 'both' or not c.has_both
    window in_view as (partition by c.view_no order by c.event_at, e.seq nulls last, e.event_id, e.event_no)
),

chained as (
    select *, count(*) filter (where not goes_on) over (partition by view_no order by place) as chain
    from ordered
),

bursts as (
    select
        view_no,
        any_value(source) as source,
        any_value(session_no) as session_no,
        arg_min(event_no, place) as event_no,
        arg_min(date, place) as date,
        arg_min(path, place) as path,
        arg_min(coalesce(selector, '(none)'), place) as selector
    from chained
    group by view_no, chain
    having count(*) >= $n
),

pages as (
    select
        e.event_no, e.source, e.path, e.date, o.session_no, o.view_no, o.event_at,
        lag(e.path) over in_session as path_before,
        lead(e.path) over in_session as path_after,
        lead(o.event_at) over in_session as left_at
    from core.placements as o
    inner join core.events as e on o.event_no = e.event_no
    where
        o.is_page and o.session_no is not null and not o.is_bot
        and o.date in (select date from near_dates) and e.date in (select date from near_dates)
    window in_session as (
        partition by o.session_no order by o.event_at, e.seq nulls last, e.event_id, e.event_no
    )
),

errors as (
    select
        e.event_no, e.source, coalesce(e.path, '(none)') as path, e.date, o.session_no, o.view_no, e.event_at, e.seq, e.event_id,
        coalesce(
            regexp_replace(json_extract_string(e.properties, '$.message'), '[0-9]', '0', 'g'),
            json_extract_string(e.properties, '$.message_hash'),
            ''
        ) as message
    from core.events as e
    inner join core.placements as o on e.event_no = o.event_no
    where
        e.name = 'Error Raised' and not o.is_bot
        and e.date in (select date from near_dates) and o.date in (select date from near_dates)
),

first_errors as (
    select event_no, source, path, date, session_no, view_no
    from errors
    qualify row_number() over (
        partition by coalesce(view_no, -event_no), message, path order by event_at, seq nulls last, event_id, event_no
    ) = 1
)

select event_no, kind, source, path, date, session_no, view_no, selector, weight, false as is_computed
from sent
union all
select event_no, 'rage', source, path, date, session_no, view_no, nullif(selector, '(none)'), 1, true
from bursts
where date in (select date from touched_dates)
union all
select event_no, 'quick_back', source, path, date, session_no, view_no, null, 1, true
from pages
where
    path_before = path_after and path <> path_before and date in (select date from touched_dates)
    and date_diff('microsecond', event_at, left_at) < $quick_back_us
union all
select view_no as event_no, 'excessive_scroll', source, path, date, session_no, view_no, null, 1, true
from core.page_views
where scroll_reversals >= $reversals and date in (select date from touched_dates)
union all
select event_no, 'error', source, path, date, session_no, view_no, null, 1, false
from first_errors
where date in (select date from touched_dates)
