-- grain: one row per pointer sample: a click, a rage or dead click, or one resting place of the pointer
-- inputs: core.events, core.pages, core.placements
-- surprising row: a click without coordinates (from the keyboard, or a client that sends none) has no bins and is not invalid
-- reach: session_no and is_bot: the events of the same device
create table if not exists core.pointer (
    event_no bigint not null, -- the event that brought it
    date date not null, -- local date of the event
    page_no integer not null, -- the page in core.pages
    session_no bigint, -- event_no of the first event of its session; null: in none
    is_bot boolean not null, -- the event or another of its session is flagged
    viewport_band utinyint not null, -- 0 mobile (below 768 pixels), 1 tablet (below 1024), 2 desktop, 3 not known
    kind utinyint not null, -- 0 click, 1 move, 2 rage, 3 dead
    layer utinyint not null, -- 0 page, 1 fixed: the element stays while the page scrolls
    x_bin utinyint, -- hundredth of the viewport's width, from the left; null: no usable coordinates
    y_bin integer, -- 16 pixels of the page (fixed: of the window), from the top; null: no usable coordinates
    weight double not null, -- samples that it stands for: 1 / sample_rate
    is_invalid boolean not null, -- has coordinates, but negative, not finite, beyond 2^25 pixels, or without a viewport
    is_below_fold boolean, -- lies below the window as it was before any scrolling; null: not known
    el_x_bin utinyint, -- tenth of the element's width; null: not known
    el_y_bin utinyint, -- tenth of the element's height; null: not known
    x double, -- pixels from the left of the window, else of the page
    y double, -- pixels from the top of the window, else of the page
    scroll_y double, -- how far the page was scrolled, pixels; null: not known
    capture varchar not null, -- element, point, both: what the client saw of it
    selector varchar, -- path of the element, cut at 500 characters
    fingerprint varchar, -- what stays the same of the element when the page changes
    text varchar -- what the element says, cut at 100 characters
);

with told as (
    select
        event_no, source, path, date, name, viewport_w, viewport_h,
        from_json(properties, '{
            "page_x": "double", "page_y": "double", "client_x": "double", "client_y": "double",
            "scroll_x": "double", "scroll_y": "double", "el_x": "double", "el_y": "double", "target_fixed": "boolean",
            "sample_rate": "double", "capture": "varchar", "selector": "varchar", "chain": "varchar",
            "fingerprint": "varchar", "text": "varchar",
            "points": [{"page_x": "double", "page_y": "double", "target_fixed": "boolean"}]
        }') as told
    from core.events
    where
        event_no > $after and event_no <= $upto
        and name in ('Element Clicked', 'Pointer Moved', 'Rage Clicked', 'Dead Clicked')
),

points as (
    select
        event_no, source, path, date, viewport_w, viewport_h, told, 1 as kind, point.page_x as page_x, point.page_y as page_y,
        null as client_x, null as client_y, coalesce(point.target_fixed, false) as is_fixed, true as is_place,
        'point' as capture
    from (
        select *, unnest(told.points) as point
        from told
        where name = 'Pointer Moved'
    ) as moves
),

clicks as (
    select
        event_no, source, path, date, viewport_w, viewport_h, told,
        case name when 'Element Clicked' then 0 when 'Rage Clicked' then 2 else 3 end as kind,
        coalesce(told.page_x, told.client_x + told.scroll_x) as page_x,
        coalesce(told.page_y, told.client_y + told.scroll_y) as page_y,
        told.client_x as client_x,
        told.client_y as client_y,
        coalesce(told.target_fixed, false) as is_fixed,
        coalesce(told.page_x, told.page_y, told.client_x, told.client_y) is not null
        or coalesce(told.capture in ('both', 'point'), false) as is_place,
        case
            when told.capture in ('element', 'point', 'both') then told.capture
            when coalesce(told.page_x, told.client_x) is null then 'element'
            when coalesce(told.selector, told.chain) is null then 'point'
            else 'both'
        end as capture
    from told
    where name <> 'Pointer Moved'
),

lying as (
    select
        *,
        case when is_fixed then coalesce(client_x, page_x) else page_x end as lies_x,
        case when is_fixed then coalesce(client_y, page_y) else page_y end as lies_y
    from (
        select * from clicks
        union all by name
        select * from points
    ) as samples
),

judged as (
    select
        *,
        -- NaN is greater than all numbers, so it is not between
        coalesce(
            lies_x between 0 and 33554432 and lies_y between 0 and 33554432 and viewport_w > 0
            and coalesce(viewport_h, 1) > 0,
            false
        ) as is_usable
    from lying
)

select
    j.event_no,
    j.date,
    p.page_no,
    o.session_no,
    o.is_bot,
    case
        when coalesce(j.viewport_w, 0) = 0 then 3 when j.viewport_w < 768 then 0 when j.viewport_w < 1024 then 1 else 2
    end as viewport_band,
    j.kind,
    case when j.is_fixed then 1 else 0 end as layer,
    case when j.is_usable then least(cast(floor(100 * j.lies_x / j.viewport_w) as bigint), 99) end as x_bin,
    case when j.is_usable then cast(floor(j.lies_y / 16) as integer) end as y_bin,
    -- a rate that no sampling has is a mistake, or an attempt to blow numbers up
    case when j.told.sample_rate between 0.0001 and 1 then 1 / j.told.sample_rate else 1 end as weight,
    j.is_place and not j.is_usable as is_invalid,
    case when j.is_usable then j.lies_y >= j.viewport_h end as is_below_fold,
    case when j.told.el_x between 0 and 1 then least(cast(floor(10 * j.told.el_x) as integer), 9) end as el_x_bin,
    case when j.told.el_y between 0 and 1 then least(cast(floor(10 * j.told.el_y) as integer), 9) end as el_y_bin,
    case when j.is_usable then coalesce(j.client_x, j.lies_x) end as x,
    case when j.is_usable then coalesce(j.client_y, j.lies_y) end as y,
    case when j.told.scroll_y between 0 and 33554432 then j.told.scroll_y end as scroll_y,
    j.capture,
    left(nullif(coalesce(j.told.selector, j.told.chain), ''), 500) as selector,
    left(nullif(j.told.fingerprint, ''), 200) as fingerprint,
    left(nullif(j.told.text, ''), 100) as text
from judged as j
inner join core.pages as p on j.source = p.source and coalesce(j.path, '(none)') = p.path
inner join core.placements as o on j.event_no = o.event_no
