"""core.persons: one row a person, and when each was first seen."""

from __future__ import annotations

from transforms import people
from transforms.run import Run, as_key


def know(run: Run) -> int:
    """Make the touched persons again; mark the dates on which somebody is, or was, new."""
    warehouse = run.warehouse
    if run.whole:
        run.forget("core.persons")
    people.gather(run)
    rows = run.replace(
        "core.persons",
        warehouse.query("core.persons"),
        scope="person_id in (select key from touched_persons)",
        key="person_id",
    )
    run.mark(
        "date",
        f"""
        select {as_key("coalesce(o.first_page_date, n.first_page_date)")} from old_persons as o
        full join new_persons as n on o.person_id = n.person_id
        where o.first_page_no is distinct from n.first_page_no
        union all
        select {as_key("n.first_page_date")} from old_persons as o
        inner join new_persons as n on o.person_id = n.person_id
        where o.first_page_no is distinct from n.first_page_no
        """,
    )
    return rows
