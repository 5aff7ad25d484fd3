-- grain: one row per source, path and viewport_band: where the page's elements lay when it was last outlined
-- inputs: core.outlines, core.events of the outlines that won
-- surprising row: a page that was never outlined in a band has no row, though it may have clicks there
-- reach: the pages outlined on the touched dates
create table if not exists marts.page_outlines (
    source varchar not null, -- configured name of the site or app
    path varchar not null, -- path of the page; (none): not known
    viewport_band varchar not null, -- mobile, tablet, desktop; (none): no viewport was said
    outlined_at timestamp not null, -- when, UTC
    viewport_w integer, -- width of the window, pixels
    viewport_h integer, -- height of the window, pixels
    document_h integer, -- height of the page, pixels
    box_n bigint not null, -- boxes in the outline
    boxes json not null -- [{selector, x, y, w, h, is_fixed}] in pixels of the page, of the window if fixed; broken: left out
);

with latest as (
    select source, path, viewport_band, event_no, outlined_at
    from core.outlines
    where (source, path, viewport_band) in (select source, path, viewport_band from touched_outlines)
    qualify row_number() over (
        partition by source, path, viewport_band order by outlined_at desc, place desc, event_no desc
    ) = 1
),

told as (
    select
        l.source, l.path, l.viewport_band, l.outlined_at, e.viewport_w, e.viewport_h, e.document_h,
        from_json(
            e.properties,
            '{"boxes": [{"selector": "varchar", "x": "double", "y": "double", "w": "double", "h": "double",
                "is_fixed": "boolean"}]}'
        ) as told
    from latest as l
    inner join core.events as e on l.event_no = e.event_no
),

sound as (
    select
        *,
        list_transform(
            -- browsers lay out nothing beyond 2^25 pixels; no number (NaN) is between
            list_filter(coalesce(told.boxes, []), lambda box: coalesce(
                box.x between 0 and 33554432 and box.y between 0 and 33554432
                and box.w between 0 and 33554432 and box.h between 0 and 33554432,
                false
            ))[:2000],
            lambda box: struct_pack(
                selector := left(box.selector, 500), x := box.x, y := box.y, w := box.w, h := box.h,
                is_fixed := coalesce(box.is_fixed, false)
            )
        ) as boxes
    from told
)

select
    source,
    path,
    viewport_band,
    outlined_at,
    viewport_w,
    viewport_h,
    document_h,
    len(boxes) as box_n,
    to_json(boxes) as boxes
from sound
