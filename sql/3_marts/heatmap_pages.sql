-- grain: one row per source, path, date, viewport_band and kind of pointer sample
-- inputs: core.pointer, core.pages of the touched dates
-- surprising row: samples whose coordinates cannot be used are in no cell, but in invalid_n here
-- reach: own date; the bot flag and session_n: the dates of the sessions touched
create table if not exists marts.heatmap_pages (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    date date not null, -- local date
    viewport_band varchar not null, -- mobile, tablet, desktop; (none): no viewport was said
    kind varchar not null, -- click, move, rage, dead
    event_n double not null, -- samples in cells, each counted for as many as it stands for
    raw_n bigint not null, -- samples in cells as received
    session_n bigint not null, -- sessions of the samples in cells
    below_fold_n double not null, -- of event_n those that lie below the window as it was before any scrolling
    below_fold_pct double, -- below_fold_n / samples in cells whose window's height is known
    unplaced_n bigint not null, -- samples without coordinates: from the keyboard, or of a client that sends none
    invalid_n bigint not null, -- samples whose coordinates are negative, not finite, huge or without a viewport
    is_complete boolean not null -- the date has ended
);

with samples as (
    select
        date, page_no, viewport_band, kind, x_bin, weight, is_invalid, is_below_fold, session_no
    from core.pointer
    where not is_bot and date in (select date from touched_dates)
),

counted as (
    select
        date, page_no, viewport_band, kind,
        coalesce(sum(weight) filter (where x_bin is not null), 0) as event_n,
        count(x_bin) as raw_n,
        count(distinct session_no) filter (where x_bin is not null) as session_n,
        coalesce(sum(weight) filter (where is_below_fold), 0) as below_fold_n,
        sum(weight) filter (where is_below_fold is not null) as fold_n,
        count(*) filter (where x_bin is null and not is_invalid) as unplaced_n,
        count(*) filter (where is_invalid) as invalid_n
    from samples
    group by date, page_no, viewport_band, kind
)

select
    g.source,
    g.path,
    c.date,
    case c.viewport_band when 0 then 'mobile' when 1 then 'tablet' when 2 then 'desktop' else '(none)' end as viewport_band,
    case c.kind when 0 then 'click' when 1 then 'move' when 2 then 'rage' else 'dead' end as kind,
    c.event_n,
    c.raw_n,
    c.session_n,
    c.below_fold_n,
    c.below_fold_n / nullif(c.fold_n, 0) as below_fold_pct,
    c.unplaced_n,
    c.invalid_n,
    t.ends_at <= $horizon as is_complete
from counted as c
inner join core.pages as g on c.page_no = g.page_no
inner join touched_dates as t on c.date = t.date
