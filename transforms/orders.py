"""core.orders, core.order_lines, core.refunds: what was bought and given back, by order."""

from __future__ import annotations

from typing import Any

from transforms.run import Run, as_key


def settle(run: Run) -> int:
    """Make the touched orders and refunds again; mark the dates and persons of those that changed."""
    warehouse = run.warehouse
    if run.whole:
        for table in ("core.orders", "core.order_lines", "core.refunds"):
            run.forget(table)
    run.touched(
        "order",
        "touched_orders",
        "select event_no from core.events where name in ('Order Completed', 'Order Refunded')",
    )
    if not warehouse.value("select count(*) from touched_orders"):
        return 0
    site = run.definitions.site
    values = {
        "currency": site.currency,
        "with_tax": "tax" in site.revenue_includes,
        "with_shipping": "shipping" in site.revenue_includes,
    }
    # The touched orders and refunds lie anywhere in the history: their rows are looked for once.
    for name in ("events", "placements"):
        warehouse.execute(
            f"create or replace temp table order_{name} as "
            f"from core.{name} where event_no in (select key from touched_orders)"
        )
    # Of each touched order id also the event that has won so far, and the refunds that may take their amount from it.
    warehouse.execute(
        """
        create or replace temp table touched_ids as
        select distinct
            source,
            coalesce(nullif(json_extract_string(properties, '$.order_id'), ''), event_id) as order_id
        from order_events
        where name = 'Order Completed'
        """
    )
    for table in ("core.orders", "core.refunds"):
        warehouse.execute(
            f"insert into touched_orders select o.event_no from {table} as o "
            "inner join touched_ids as i on o.source = i.source and o.order_id = i.order_id "
            "where o.event_no not in (select key from touched_orders)"
        )
    if warehouse.value("select count(*) from touched_orders") > warehouse.value("select count(*) from order_events"):
        for name in ("events", "placements"):
            warehouse.execute(
                f"insert into order_{name} from core.{name} where event_no in "
                f"(select key from touched_orders where key not in (select event_no from order_{name}))"
            )
    rows = 0
    for table in ("core.orders", "core.refunds"):
        rows += _replace(run, table, values)
    warehouse.execute("delete from core.order_lines where event_no in (select event_no from old_orders)")
    rows += warehouse.insert("core.order_lines")
    run.note_changed("core.order_lines", "select event_no from old_orders union all select event_no from new_orders")
    _first_orders(run)
    # A refund is credited like its order: whoever has either of them is looked at again.
    settled = """
        from core.refunds as r left join core.orders as o on r.source = o.source and r.order_id = o.order_id
        where r.event_no in (select key from touched_orders)
    """
    run.mark("person", f"select r.person_id {settled} union select o.person_id {settled}")
    run.mark("date", f"select {as_key('r.date')} {settled}")
    return rows


def _replace(run: Run, table: str, values: dict[str, Any]) -> int:
    """Bring the touched rows to what the table's query gives; mark the dates and persons of what differed."""
    warehouse = run.warehouse
    name = table.split(".")[1]
    rows = run.replace(
        table,
        warehouse.query(table),
        values,
        scope="event_no in (select key from touched_orders)",
        key="event_no",
        later="is_first" if table == "core.orders" else "",
    )
    both = f"select * from old_{name} union all select * from new_{name}"
    run.mark("date", f"select {as_key('date')} from ({both})")
    run.mark("person", f"select person_id from ({both})")
    return rows


def _first_orders(run: Run) -> None:
    """Set is_first for the persons whose orders were touched."""
    run.warehouse.execute(
        """
        create or replace temp table first_orders as
        with buyers as (
            select person_id from old_orders
            union
            select person_id from new_orders
        )

        select
            event_no,
            row_number() over (
                partition by person_id order by ordered_at, seq nulls last, event_id, source, event_no
            ) = 1 as is_first
        from core.orders
        where person_id in (select person_id from buyers)
        """
    )
    run.note_changed(
        "core.orders",
        "select o.date from core.orders as o inner join first_orders as f on o.event_no = f.event_no "
        "where o.is_first <> f.is_first",
    )
    run.warehouse.execute(
        "update core.orders as o set is_first = f.is_first from first_orders as f "
        "where o.event_no = f.event_no and o.is_first <> f.is_first"
    )
