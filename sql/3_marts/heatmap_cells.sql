-- grain: one row per source, path, date, viewport_band, layer, kind, x_bin and y_bin in which something was pointed at
-- inputs: core.pointer, core.pages, core.placements of the touched dates
-- surprising row: the same place on a page is another cell for each device band; rage found in the clicks is not here
-- reach: own date; the bot flag and session_n: the dates of the sessions touched
create table if not exists marts.heatmap_cells (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date
    viewport_band varchar not null, -- mobile (below 768 pixels), tablet (below 1024), desktop
    layer varchar not null, -- page, or fixed: the element stays where it is in the window while the page scrolls
    kind varchar not null, -- click, move, rage, dead
    x_bin integer not null, -- hundredth of the viewport's width, 0 to 99
    y_bin integer not null, -- 16 pixels from the top of the page (fixed: of the window)
    event_n double not null, -- samples, each counted for as many as it stands for (1 / sample_rate)
    raw_n bigint not null, -- samples received
    session_n bigint not null -- sessions that they belong to
);

with samples as (
    select p.date, p.page_key, p.viewport_band, p.layer, p.kind, p.x_bin, p.y_bin, p.weight, o.session_no
    from core.pointer as p
    inner join core.placements as o on p.event_no = o.event_no
    where
        p.x_bin is not null and not o.is_bot
        and p.date in (select date from touched_dates) and o.date in (select date from touched_dates)
),

-- Two steps count the sessions of a cell at half the cost of count(distinct).
by_session as (
    select
        date, page_key, viewport_band, layer, kind, x_bin, y_bin, session_no,
        sum(weight) as event_n,
        count(*) as raw_n
    from samples
    group by date, page_key, viewport_band, layer, kind, x_bin, y_bin, session_no
),

by_cell as (
    select
        date, page_key, viewport_band, layer, kind, x_bin, y_bin,
        sum(event_n) as event_n,
        cast(sum(raw_n) as bigint) as raw_n,
        count(session_no) as session_n
    from by_session
    group by date, page_key, viewport_band, layer, kind, x_bin, y_bin
)

select
    g.source,
    g.path,
    c.date,
    case c.viewport_band when 0 then 'mobile' when 1 then 'tablet' else 'desktop' end as viewport_band,
    case c.layer when 0 then 'page' else 'fixed' end as layer,
    case c.kind when 0 then 'click' when 1 then 'move' when 2 then 'rage' else 'dead' end as kind,
    cast(c.x_bin as integer) as x_bin,
    c.y_bin,
    c.event_n,
    c.raw_n,
    c.session_n
from by_cell as c
inner join core.pages as g on c.page_key = g.page_key
