"""core.pages, core.pointer, core.scrolls: what events tell of pointer and scrolling, read once, as narrow columns."""

from __future__ import annotations

from transforms import dates
from transforms.run import Run


def append(run: Run) -> int:
    """Add the samples of what landed since the last build; how many they are."""
    warehouse = run.warehouse
    if run.whole:
        for table in ("core.pages", "core.pointer", "core.scrolls"):
            run.forget(table)
    values = {"after": 0 if run.whole else run.after, "upto": run.upto}
    warehouse.insert("core.pages", values)
    moved = 0 if run.whole else _move(run)
    return moved + warehouse.insert("core.pointer", values) + warehouse.insert("core.scrolls", values)


def _move(run: Run) -> int:
    """Bring session and bot flag of older samples to those that their events have by now; how many were others."""
    dates.touch(run)
    warehouse = run.warehouse
    # Named, so that DuckDB passes over the dates before and after them.
    first, last = warehouse.execute("select min(date), max(date) from touched_dates")[0]
    warehouse.execute(
        """
        create or replace temp table moved as
        select p.event_no, o.session_no, o.is_bot
        from core.pointer as p
        inner join core.placements as o on p.event_no = o.event_no
        where
            p.event_no <= $after
            and p.date in (select date from touched_dates) and o.date in (select date from touched_dates)
            and p.date between $first and $last and o.date between $first and $last
            and (p.session_no is distinct from o.session_no or p.is_bot <> o.is_bot)
        """,
        {"after": run.after, "first": first, "last": last},
    )
    if not warehouse.value("select exists(from moved)"):
        return 0
    changed = warehouse.execute(
        "update core.pointer as p set session_no = m.session_no, is_bot = m.is_bot from moved as m "
        "where p.event_no = m.event_no"
    )
    return int(changed[0][0])
