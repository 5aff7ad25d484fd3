"""core.pages, core.pointer, core.scrolls: what events tell of pointer and scrolling, read once, as narrow columns."""

from __future__ import annotations

from transforms.run import Run, plain_hash


def append(run: Run) -> int:
    """Add the samples of what landed since the last build; how many they are."""
    warehouse = run.warehouse
    if run.whole:
        for table in ("core.pages", "core.pointer", "core.scrolls"):
            run.forget(table)
    values = {"after": 0 if run.whole else run.after, "upto": run.upto}
    warehouse.execute(
        f"""
        create or replace temp table batch_places as
        with places as (
            select distinct source, coalesce(path, '(none)') as path
            from core.events
            where
                event_no > $after and event_no <= $upto
                and name in ('Element Clicked', 'Pointer Moved', 'Rage Clicked', 'Dead Clicked')
        )

        select {plain_hash("concat_ws(chr(31), source, path)")} as page_key, source, path
        from places
        """,
        values,
    )
    warehouse.execute(
        "insert into core.pages by name select page_key, source, path from batch_places "
        "where page_key not in (select page_key from core.pages)"
    )
    return warehouse.insert("core.pointer", values) + warehouse.insert("core.scrolls", values)
