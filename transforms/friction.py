"""core.signals, core.friction, marts.friction_pages and heatmap_elements: where visitors get stuck, by date."""

from __future__ import annotations

from transforms import dates
from transforms.run import Run


def find(run: Run) -> int:
    """Make the touched local dates again."""
    warehouse, rules = run.warehouse, run.definitions.friction
    dates.touch(run)
    values = {
        "horizon": run.horizon,
        "n": rules.n,
        "within_us": rules.within_us,
        "within_px": rules.within_px,
        "quick_back_us": rules.quick_back_us,
        "reversals": rules.reversals,
    }
    by_date = "true" if run.whole else "date in (select date from touched_dates)"
    rows = 0
    for table, key in (
        ("core.signals", "source, date, signal"),
        ("core.friction", "event_no, kind"),
        ("marts.friction_pages", "source, path, date"),
        ("marts.heatmap_elements", "source, path, date, selector"),
    ):
        rows += run.replace(table, warehouse.query(table), values, scope=by_date, key=key)
    return rows
