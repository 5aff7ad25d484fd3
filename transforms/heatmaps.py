"""marts.heatmap_*, marts.page_outlines: where on a page people point, by date."""

from __future__ import annotations

from transforms import dates
from transforms.run import Run


def draw(run: Run) -> int:
    """Make the touched local dates again, and the outlines of the pages that were outlined on them."""
    warehouse = run.warehouse
    dates.touch(run)
    values = {"horizon": run.horizon}
    by_date = "true" if run.whole else "date in (select date from touched_dates)"
    rows = 0
    for table, key in (
        ("marts.heatmap_cells", "source, path, date, viewport_band, layer, kind, x_bin, y_bin"),
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
