-- grain: one row per source, path, date, viewport_band, layer, kind, x_bin and y_bin in which something was pointed at
-- inputs: core.pointer, core.pages of the touched dates, counted by transforms/heatmap_cells.py
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
    session_n bigint not null, -- sessions that they belong to
    is_complete boolean not null -- the date has ended
);

select
    g.source,
    g.path,
    g.date,
    g.viewport_band,
    g.layer,
    g.kind,
    c.x_bin,
    c.y_bin,
    c.event_n,
    c.raw_n,
    c.session_n,
    g.is_complete
from counted_cells as c
inner join grounds as g on c.ground = g.ground
