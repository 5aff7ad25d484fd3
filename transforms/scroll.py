"""core.page_views, marts.scroll_reach and scroll_pages: how far down a page people get, and what they look at."""

from __future__ import annotations

from transforms import dates
from transforms.run import Run

# One row for each band of the page in view during each interval, and one without band for what cannot be placed.
# Heights are taken times 20, so that the edges of the bands are whole numbers.
GLIMPSES = """
create or replace temp table glimpses as
with reports as (
    select
        v.source, v.path, v.date, v.viewport_band, o.engaged_ms, s.glances, s.glanced_ms,
        coalesce(nullif(e.viewport_h, 0), v.viewport_h) as viewport_h, v.document_h
    from core.placements as o
    inner join core.page_views as v on o.view_no = v.view_no
    inner join core.events as e on o.event_no = e.event_no
    left join core.scrolls as s on o.event_no = s.event_no
    where
        o.engaged_ms is not null and v.date in (select date from touched_dates)
        and o.date in (select date from near_dates) and e.date in (select date from near_dates)
),

glances as (
    select
        source, path, date, viewport_band, viewport_h, document_h, glance.scroll_y as scroll_y,
        -- intervals cannot tell of more time than their report
        glance.ms * case when glanced_ms > engaged_ms then engaged_ms / glanced_ms else 1 end as ms
    from (select *, unnest(glances) as glance from reports)
    where glance.ms > 0
),

judged as (
    select
        *,
        coalesce(scroll_y < document_h and viewport_h > 0, false) as is_placed,
        least(scroll_y + viewport_h, document_h) * 20 as until_y,
        scroll_y * 20 as from_y
    from glances
),

seen as (
    select
        source, path, date, viewport_band, ms, from_y, until_y, document_h,
        unnest(range(
            cast(floor(from_y / document_h) as bigint), least(cast(ceil(until_y / document_h) as bigint), 20)
        )) as depth_band
    from judged
    where is_placed
),

overlapping as (
    select
        source, path, date, viewport_band, depth_band, ms, until_y - from_y as height,
        least(until_y, (depth_band + 1) * document_h) - greatest(from_y, depth_band * document_h) as overlap
    from seen
)

select source, path, date, viewport_band, depth_band, ms * overlap / height as attention_ms, ms as visible_ms
from overlapping
where overlap > 0
union all
select source, path, date, viewport_band, null, ms, null
from judged
where not is_placed
union all
-- a report that tells of more time than its intervals
select source, path, date, viewport_band, null, engaged_ms - coalesce(glanced_ms, 0), null
from reports
where engaged_ms > coalesce(glanced_ms, 0)
"""


def measure(run: Run) -> int:
    """Make the touched local dates again."""
    return sum(_measure(run, scope) for scope in dates.in_portions(run))


def _measure(run: Run, scope: str) -> int:
    warehouse, values = run.warehouse, {"horizon": run.horizon}
    rows = run.replace("core.page_views", warehouse.query("core.page_views"), scope=scope, key="view_no")
    warehouse.execute(GLIMPSES)
    for table, key in (
        ("marts.scroll_reach", "source, path, date, viewport_band, depth_band"),
        ("marts.scroll_pages", "source, path, date, viewport_band"),
    ):
        rows += run.replace(table, warehouse.query(table), values, scope=scope, key=key)
    return rows
