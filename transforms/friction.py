"""core.signals, core.friction, marts.friction_pages and heatmap_elements: where visitors get stuck, by date."""

from __future__ import annotations

from transforms import dates
from transforms.run import Run


def find(run: Run) -> int:
    """Make the touched local dates again."""
    warehouse, rules = run.warehouse, run.definitions.friction
    values = {
        "horizon": run.horizon,
        "n": rules.n,
        "within_us": rules.within_us,
        "within_px": rules.within_px,
        "quick_back_us": rules.quick_back_us,
        "reversals": rules.reversals,
    }
    rows = 0
    # Friction reads the signals of near dates too, so these are all there first.
    for tables in (
        (("core.signals", "source, date, signal"),),
        (
            ("core.friction", "event_no, kind"),
            ("marts.friction_pages", "source, path, date"),
            ("marts.heatmap_elements", "source, path, date, selector"),
        ),
    ):
        for scope in dates.in_portions(run):
            for table, key in tables:
                rows += run.replace(table, warehouse.query(table), values, scope=scope, key=key)
    return rows
