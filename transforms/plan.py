"""The tracking plan: what planned events must carry, what breaks it, and a typed view of each for BI."""

from __future__ import annotations

import polars as pl

from transforms.definitions import PlannedEvent
from transforms.run import Run
from transforms.steps import property_path

# What every view begins with.
COMMON = {
    "event_id": "id of the event; joins to core.events",
    "source": "configured name of the site or app",
    "event_at": "when it happened, corrected for the client's clock, UTC",
    "date": "local date of event_at",
    "person_id": "whose it is, a keyed hash; null: it names nobody",
    "session_id": "the session that holds it; null: in none",
    "path": "path of the page",
    "is_bot": "made by a program",
}
VIOLATIONS = 'what breaks the plan, joined by "; "; null: nothing does'
MOMENT = r":\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$"  # the end of a time with its zone
TYPED = {
    "text": "{text}",
    "number": "try_cast({text} as double)",
    "integer": "case when try_cast({text} as double) % 1 = 0 then try_cast({text} as bigint) end",
    "boolean": "try_cast({text} as boolean)",
    # A time without zone is UTC, whatever zone the reader lives in.
    "time": f"case when regexp_matches({{text}}, '{MOMENT}') "
    "then timezone('UTC', try_cast({text} as timestamptz)) else try_cast({text} as timestamp) end",
    "list": "case when json_type(e.properties, {path}) = 'ARRAY' then json_extract(e.properties, {path}) end",
    "object": "case when json_type(e.properties, {path}) = 'OBJECT' then json_extract(e.properties, {path}) end",
    "any": "{text}",
}


def check(run: Run) -> int:
    """Add what of the newly landed events breaks the plan; how many violations there are."""
    warehouse = run.warehouse
    if run.whole:
        run.forget("core.violations")
    rows = [
        (event.name, each.name, property_path(each.name), each.type, each.is_required)
        for event in run.definitions.events
        for each in event.properties
    ]
    columns = ("name", "property", "path", "type", "is_required")
    with warehouse.frames(_planned=pl.DataFrame(rows, schema=_schema(columns), orient="row")):
        warehouse.execute("create or replace temp table planned as select * from _planned")
    values = {"after": 0 if run.whole else run.after, "upto": run.upto}
    warehouse.execute(f"create or replace temp table new_violations as {warehouse.query('core.violations')}", values)
    run.note_changed("core.violations", "select date from new_violations")
    return int(warehouse.execute("insert into core.violations by name select * from new_violations")[0][0])


def _schema(columns: tuple[str, ...]) -> dict[str, type[pl.DataType]]:
    return {name: pl.Boolean if name.startswith("is_") else pl.String for name in columns}


def view(event: PlannedEvent) -> tuple[str, dict[str, str]]:
    """The query of the event's view over the published core.events, and its columns with what they mean."""
    chosen, comments = [f"e.{name}" for name in COMMON], dict(COMMON)
    for each in event.properties:
        path = _quoted(property_path(each.name))
        value = TYPED[each.type].format(text=f"json_extract_string(e.properties, {path})", path=path)
        chosen.append(f'{value} as "{each.column}"')
        must = "required" if each.is_required else "optional"
        comments[each.column] = f"property {each.name}, planned as {each.type}, {must}; null: absent, or no such value"
    chosen.append("v.violations")
    comments["violations"] = VIOLATIONS
    name = _quoted(event.name)
    query = f"""
        select {", ".join(chosen)}
        from core.events as e
        left join (
            select event_id, source, string_agg(property || ': ' || problem, '; ' order by property) as violations
            from core.violations where name = {name} group by event_id, source
        ) as v on e.event_id = v.event_id and e.source = v.source
        where e.name = {name}
    """
    return query, comments


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
