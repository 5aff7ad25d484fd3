"""marts.heatmap_*, marts.page_outlines: where on a page people point, by date."""

from __future__ import annotations

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import polars as pl

from transforms import dates, heatmap_cells
from transforms.run import Run
from warehouse import Warehouse

SLICE = 500_000  # samples that are counted at once, or those of one date: so many are sorted in a processor's cache
COUNTED = {"cell": pl.Int64, "raw_n": pl.Int64, "session_n": pl.Int64}
PACKED = "((g.first_ground + p.viewport_band * 8 + p.layer * 4 + p.kind) * 100 + p.x_bin) * $height + p.y_bin"
SAMPLES = """
core.pointer as p
inner join pointed_pages as g on p.page_key = g.page_key and p.date = g.date
where p.x_bin is not null and not p.is_bot
"""


def count_cells(warehouse: Warehouse, horizon: datetime) -> tuple[pl.DataFrame, int]:
    """What lies in the cells of the touched_dates: a frame of cell, event_n, raw_n, session_n; and a cell's height.

    cell = (ground * 100 + x_bin) * height + y_bin. A ground is all that a cell is of beside its place: date, page,
    band, layer and kind; the temp table grounds says which.
    """
    warehouse.execute(
        """
        create or replace temp table pointed_pages as
        select
            date, page_key, count(*) as sample_n, max(y_bin) as most_y_bin, min(session_no) as least_session_no,
            -- as many of them as rows at most, so that a cell always has room in 63 bits
            32 * (row_number() over (order by date, page_key) - 1) as first_ground
        from core.pointer
        where x_bin is not null and not is_bot and date in (select date from touched_dates)
        group by date, page_key
        """
    )
    height, session_no = warehouse.execute(
        "select coalesce(max(most_y_bin), 0) + 1, coalesce(min(least_session_no), 0) from pointed_pages"
    )[0]
    days = warehouse.execute(
        "select date, cast(sum(sample_n) as bigint) from pointed_pages group by date order by date"
    )
    ends = [upto // SLICE for upto in itertools.accumulate(n for _, n in days)]
    counted: list[Future[pl.DataFrame]] = []
    # Two slices are counted while the next one is read; there are never more than three.
    with ThreadPoolExecutor(2) as beside:
        for _, slice_ in itertools.groupby(zip(ends, days, strict=True), key=lambda day: day[0]):
            sliced = [date for _, (date, _) in slice_]
            samples = warehouse.frame(
                f"select {PACKED} as cell, coalesce(p.session_no - $session_no + 1, 0) as session from {SAMPLES} "
                "and p.date between $first and $last",
                {"height": height, "session_no": session_no, "first": sliced[0], "last": sliced[-1]},
            )
            if len(counted) > 1:
                counted[-2].result()
            counted.append(beside.submit(heatmap_cells.count, samples))
    # Most samples stand for themselves alone: what the others add is counted apart.
    more = warehouse.frame(
        f"select {PACKED} as cell, fsum(p.weight - 1) as more_n from {SAMPLES} and p.weight <> 1 group by cell",
        {"height": height},
    )
    # Texts are made once a ground, not once a cell.
    warehouse.execute(
        """
        create or replace temp table grounds as
        select
            p.first_ground + m.more as ground, g.source, g.path, t.date, t.ends_at <= $horizon as is_complete,
            case m.more // 8 when 0 then 'mobile' when 1 then 'tablet' else 'desktop' end as viewport_band,
            case m.more // 4 % 2 when 0 then 'page' else 'fixed' end as layer,
            case m.more % 4 when 0 then 'click' when 1 then 'move' when 2 then 'rage' else 'dead' end as kind
        from pointed_pages as p
        cross join range(24) as m(more)
        inner join core.pages as g on p.page_key = g.page_key
        inner join touched_dates as t on p.date = t.date
        """,
        {"horizon": horizon},
    )
    cells = pl.concat([pl.DataFrame(schema=COUNTED), *(each.result() for each in counted)])
    event_n = pl.col("raw_n").cast(pl.Float64)
    if more.height:
        cells = cells.join(more, on="cell", how="left")
        event_n += pl.col("more_n").fill_null(0)
    return cells.select("cell", "raw_n", "session_n", event_n=event_n), height


def draw(run: Run) -> int:
    """Make the touched local dates again, and the outlines of the pages that were outlined on them."""
    warehouse = run.warehouse
    dates.touch(run)
    cells, height = count_cells(warehouse, run.horizon)
    values = {"horizon": run.horizon, "height": height}
    by_date = "true" if run.whole else "date in (select date from touched_dates)"
    with warehouse.frames(counted_cells=cells):
        rows = run.replace(
            "marts.heatmap_cells",
            warehouse.query("marts.heatmap_cells"),
            values,
            scope=by_date,
            key="source, path, date, viewport_band, layer, kind, x_bin, y_bin",
        )
    for table, key in (
        ("marts.heatmap_pages", "source, path, date, viewport_band, kind"),
        ("marts.heatmap_element_cells", "source, path, date, selector, el_x_bin, el_y_bin"),
        ("core.outlines", "source, path, viewport_band, date"),
    ):
        rows += run.replace(table, warehouse.query(table), values, scope=by_date, key=key)
    warehouse.execute(
        "create or replace temp table touched_outlines as "
        "select source, path, viewport_band from old_outlines "
        "union select source, path, viewport_band from new_outlines "
        "union select source, path, viewport_band from core.outlines where $whole",
        {"whole": run.whole},
    )
    page = "source, path, viewport_band"
    touched = f"({page}) in (select {page} from touched_outlines)"
    rows += run.replace(
        "marts.page_outlines",
        warehouse.query("marts.page_outlines"),
        scope="true" if run.whole else touched,
        key=page,
    )
    return rows
