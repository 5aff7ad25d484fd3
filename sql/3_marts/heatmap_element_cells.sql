-- grain: one row per source, path, date, selector and tenth of the element's box that was clicked
-- inputs: core.pointer, core.pages of the touched dates
-- surprising row: an element of size 0 has no box, so its clicks are in marts.heatmap_elements only
-- reach: own date; the bot flag: the dates of the sessions touched
create table if not exists marts.heatmap_element_cells (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date
    selector varchar not null, -- path of the element in the page, cut at 500 characters
    el_x_bin integer not null, -- tenth of the element's width from its left, 0 to 9
    el_y_bin integer not null, -- tenth of the element's height from its top, 0 to 9
    event_n double not null, -- clicks, each counted for as many as it stands for
    raw_n bigint not null, -- clicks received
    is_complete boolean not null -- the date has ended
);

select
    g.source,
    g.path,
    p.date,
    p.selector,
    cast(p.el_x_bin as integer) as el_x_bin,
    cast(p.el_y_bin as integer) as el_y_bin,
    sum(p.weight) as event_n,
    count(*) as raw_n,
    t.ends_at <= $horizon as is_complete
from core.pointer as p
inner join core.pages as g on p.page_no = g.page_no
inner join touched_dates as t on p.date = t.date
where p.kind = 0 and p.selector is not null and p.el_x_bin is not null and p.el_y_bin is not null and not p.is_bot
group by g.source, g.path, p.date, p.selector, p.el_x_bin, p.el_y_bin, t.ends_at
