"""marts.journey_edges and marts.journey_paths: the ways of the visits that began on the touched dates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from transforms.definitions import DAY_US, Journey
from transforms.journeys import clean, walk
from transforms.run import Run, as_key, shard_n
from transforms.steps import NODE, SESSION_COLUMNS, like, matches
from transforms.total_order import in_order, look_up

EDGES = "marts.journey_edges"
PATHS = "marts.journey_paths"


def fill(run: Run) -> int:
    """Walk the visits of the touched dates again, for every journey."""
    if run.whole:
        names = [journey.name for journey in run.definitions.journeys]
        for table in (EDGES, PATHS):
            run.forget(table, "journey not in (select unnest(cast($names as varchar[])))", {"names": names})
    run.touched("date", "touched_days", "select date_diff('day', date '1970-01-01', date) from core.placements")
    return sum(_fill(run, journey) for journey in run.definitions.journeys)


def _fill(run: Run, journey: Journey) -> int:
    warehouse = run.warehouse
    # A journey of persons reaches from its anchor over the window; the walk reads as far again around its dates.
    warehouse.execute("create or replace temp table journey_days as select key from touched_days")
    if journey.scope == "person" and run.horizon_before is not None:
        # Windows that ended since the last build.
        warehouse.execute(
            f"insert into journey_days select unnest(generate_series({as_key('cast($before - $window as date)')} - 1, "
            f"{as_key('cast($horizon as date)')} + 1))",
            {
                "before": run.horizon_before,
                "horizon": run.horizon,
                "window": timedelta(microseconds=journey.window_us),
            },
        )
    days = 0 if journey.scope == "session" else 1 + -(-journey.window_us // DAY_US)
    for table, margin in (("walked_dates", days), ("read_dates", 2 * days)):
        warehouse.execute(
            f"""
            create or replace temp table {table} as
            select distinct
                date '1970-01-01' + cast(key + unnest(generate_series(-$margin, $margin)) as integer) as date
            from journey_days
            """,
            {"margin": margin},
        )
    _walk(run, journey)
    scope = "journey = $journey" + ("" if run.whole else " and date in (select date from walked_dates)")
    values = {"journey": journey.name}
    return run.replace(
        EDGES, warehouse.query(EDGES), values, scope=scope, key="journey, date, step_no, from_node, to_node"
    ) + run.replace(PATHS, warehouse.query(PATHS), values, scope=scope, key="journey, date, path")


def _walk(run: Run, journey: Journey) -> None:
    """Temp tables walked_edges and walked_paths: what the kernel tells of the walked dates."""
    dates, read = ("walked_dates", _session_nodes) if journey.scope == "session" else ("read_dates", _person_nodes)
    event_n = run.warehouse.value(f"select count(*) from core.placements where date in (select date from {dates})")
    shards = shard_n(event_n)
    for shard in range(shards):
        nodes = read(run, journey, shard, shards)
        if journey.clean:
            names = nodes.select(pl.col("node").unique())
            folded = names.with_columns(clean(names["node"], journey.clean).alias("folded"))
            nodes = nodes.join(folded, on="node", how="left", maintain_order="left")
            nodes = nodes.drop("node").rename({"folded": "node"})
        walked = walk(nodes, journey)
        for name, frame in (("walked_edges", walked.edges), ("walked_paths", walked.paths)):
            into = f"insert into {name}" if shard else f"create or replace temp table {name} as"
            with run.warehouse.frames(_walked=frame):
                run.warehouse.execute(f"{into} select * from _walked where date in (select date from walked_dates)")


def _conditions(journey: Journey) -> tuple[dict[str, str], dict[str, Any]]:
    """SQL conditions of an event e: that it is a node, the start, the end; and what they bind."""
    values: dict[str, Any] = {}
    nodes = ["(e.is_page and e.path is not null)"]
    for number, name in enumerate(journey.events):
        nodes.append(rf"e.name like $node_{number} escape '\'")
        values[f"node_{number}"] = like(name)
    found = {"node": f"({' or '.join(nodes)})"}
    for end, step in (("start", journey.start), ("end", journey.end)):
        if step is None:
            found[end] = "false"
            continue
        condition, bound = matches(step, end)
        found[end] = f"coalesce({condition}, false)"
        values |= bound
    return found, values


def _session_nodes(run: Run, journey: Journey, shard: int, shards: int) -> pl.DataFrame:
    condition, values = _conditions(journey)
    nodes = run.warehouse.frame(
        f"""
        with visits as (
            select session_no, date, is_open, {", ".join(sorted(SESSION_COLUMNS))}
            from core.sessions
            where date in (select date from walked_dates) and not is_bot and session_no % $shards = $shard
        ),

        held as (
            select p.event_no, p.session_no, p.event_at, p.is_key
            from core.placements as p
            inner join visits as v on p.session_no = v.session_no
            where p.date between (select min(date) from walked_dates) and (select max(date) + 2 from walked_dates)
        ),

        converted as (
            select session_no, max(event_at) as converted_at
            from held
            where is_key
            group by session_no
        )

        select
            h.session_no as unit_id,
            s.date,
            epoch_us(h.event_at) as at,
            {NODE} as node,
            {condition["start"]} as is_start,
            {condition["end"]} as is_end,
            epoch_us(c.converted_at) as converted_at,
            s.is_open,
            h.event_no
        from held as h
        inner join visits as s on h.session_no = s.session_no
        inner join core.events as e on h.event_no = e.event_no
        left join converted as c on h.session_no = c.session_no
        where {condition["node"]}
        """,
        {**values, "shard": shard, "shards": shards},
    )
    return _in_order(run, nodes)


def _person_nodes(run: Run, journey: Journey, shard: int, shards: int) -> pl.DataFrame:
    condition, values = _conditions(journey)
    lines = run.warehouse.frame(
        f"""
        select
            p.person_id as unit_id,
            p.date,
            epoch_us(p.event_at) as at,
            {NODE} as node,
            {condition["node"]} as is_node,
            {condition["start"]} as is_start,
            {condition["end"]} as is_end,
            case when p.is_key then epoch_us(p.event_at) end as converted_at,
            p.event_at + $window > $horizon as is_open,
            p.event_no
        from core.placements as p
        inner join core.events as e on p.event_no = e.event_no
        left join core.sessions as s on p.session_no = s.session_no
        where
            p.date in (select date from read_dates) and p.person_id % $shards = $shard and not p.is_bot
            and ({condition["node"]} or p.is_key)
        """,
        {
            **values,
            "window": timedelta(microseconds=journey.window_us),
            "horizon": run.horizon,
            "shard": shard,
            "shards": shards,
        },
    )
    lines = _in_order(run, lines)
    # The next key event of the person; that of a person after it is none.
    is_key, unit = pl.col("converted_at").is_not_null(), pl.col("unit_id")
    next_at = pl.when(pl.when(is_key).then(unit).backward_fill() == unit).then(pl.col("converted_at").backward_fill())
    return lines.with_columns(converted_at=next_at).filter(pl.col("is_node").fill_null(False)).drop("is_node")


def _in_order(run: Run, nodes: pl.DataFrame) -> pl.DataFrame:
    """The rows in the total order of their units; without event_no."""
    return in_order(nodes, "unit_id", lambda tied: look_up(run.warehouse, tied, "core.events")).drop("event_no")
