"""marts.funnel_attempts and marts.funnel_steps: the funnels of the touched persons, then the cells they fall in."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from transforms import people
from transforms.chains import window_us
from transforms.definitions import Funnel, Step
from transforms.funnels import attempts, complete_after_us
from transforms.periods import START, first_date, instant, lay_periods
from transforms.run import Run, shard_n
from transforms.steps import NODE, column, like, matches, property_path

ATTEMPTS = "marts.funnel_attempts"
STEPS = "marts.funnel_steps"
# The cells to make again, and those of periods before the data begin.
AFFECTED = """(
    period_start in (select period_start from cells) or period_start not in (select period_start from periods)
)"""


RIPENING = f"select person_id from {ATTEMPTS} where funnel = $funnel and is_open and entered_at + $window <= $horizon"


def ripen(run: Run) -> None:
    """Mark the persons whose attempts time alone has closed."""
    for funnel in run.definitions.funnels:
        window = timedelta(microseconds=window_us(funnel))
        run.mark("ripe", RIPENING, {"funnel": funnel.name, "window": window, "horizon": run.horizon})


def fill(run: Run) -> int:
    """Make the touched persons' attempts of every funnel again, and the cells in which old or new ones fall."""
    if run.whole:
        run.forget(ATTEMPTS)
        names = [funnel.name for funnel in run.definitions.funnels]
        run.forget(STEPS, "funnel not in (select unnest(cast($names as varchar[])))", {"names": names})
    people.gather(run)
    return sum(_fill(run, funnel) for funnel in run.definitions.funnels)


def _fill(run: Run, funnel: Funnel) -> int:
    warehouse = run.warehouse
    values = {
        "funnel": funnel.name,
        "horizon": run.horizon,
        "window": timedelta(microseconds=window_us(funnel)),
        "complete_after": timedelta(microseconds=complete_after_us(funnel)),
        "timezone": run.definitions.site.timezone,
    }
    if funnel.entry_period == "all":
        values["first_date"] = _first_date(run, funnel)
    # With steps in any order the first event that matches one of them begins the attempt.
    begins = funnel.steps if funnel.order == "any" else funnel.steps[:1]
    conditions: list[str] = []
    begin_values: dict[str, Any] = {}
    for number, step in enumerate(begins):
        condition, bound = matches(step, f"begin_{number}")
        conditions.append(condition)
        begin_values |= bound
    is_begin = _any(conditions)
    # Time alone closes an attempt, and lets another begin to count in a funnel over all time.
    warehouse.execute(
        f"create or replace temp table funnel_persons as select key from touched_persons union {RIPENING}", values
    )
    if funnel.entry_period == "all":
        _begin_again(run, values)
    if funnel.entry_period == "all" and run.horizon_before is not None:
        warehouse.execute(
            f"""
            insert into funnel_persons
            select distinct p.person_id from core.placements as p
            inner join core.events as e on p.event_no = e.event_no
            left join core.sessions as s on p.session_no = s.session_no
            where p.event_at > $before - $window and p.event_at <= $horizon - $window and {is_begin}
            """,
            {**values, **begin_values, "before": run.horizon_before},
        )
    _find_attempts(run, funnel)
    rows_of = _rows_of(funnel)
    if funnel.unit == "session":
        owner, join = "u.person_id, u.session_id", f"left join {rows_of}sessions as u on f.unit_id = u.session_no"
        is_same = "true"
    else:
        owner, join = "f.unit_id as person_id, cast(null as varchar) as session_id", ""
        is_same = "p.person_id = f.unit_id"
    ignored, ignored_values = _ignored(funnel)
    rows = run.replace(
        ATTEMPTS,
        f"""
        with following as (
            select
                f.unit_id, f.period_start, f.entered_at,
                arg_min(
                    {NODE},
                    (p.event_at, coalesce(e.seq, 9223372036854775807), e.event_id, e.source, e.event_no)
                ) as node
            from found_attempts as f
            inner join {rows_of}placements as p
                on f.last_session_no = p.session_no and f.step_at[f.depth] < p.event_at and {is_same}
            inner join {rows_of}events as e on p.event_no = e.event_no
            where f.depth < $step_n and p.is_bearing and not {ignored}
            group by f.unit_id, f.period_start, f.entered_at
        )

        select
            $funnel as funnel, {owner}, f.unit_id, f.period_start, f.entered_at, f.depth, f.step_at,
            f.breakdown_value, f.is_open, f.is_excluded, s.source, s.channel, s.device,
            case when f.depth < $step_n then coalesce(n.node, '(exit)') end as next_node
        from found_attempts as f {join}
        left join {rows_of}sessions as s on f.first_session_no = s.session_no
        left join following as n
            on f.unit_id = n.unit_id and f.period_start = n.period_start and f.entered_at = n.entered_at
        """,
        {**values, **ignored_values, "step_n": len(funnel.steps)},
        scope="funnel = $funnel and person_id in (select key from funnel_persons)",
        key="unit_id, period_start, entered_at",
    )
    return rows + _fill_cells(run, funnel, values)


def _find_attempts(run: Run, funnel: Funnel) -> None:
    """Temp table found_attempts: what the kernel finds, with times as timestamps."""
    event_n = run.warehouse.value(
        f"select count(*) from {_rows_of(funnel)}placements where person_id in (select key from funnel_persons)"
    )
    shards, horizon_us = shard_n(event_n), _us(run)
    for shard in range(shards):
        found = attempts(_facts(run, funnel, shard, shards), funnel, horizon_us=horizon_us, carry=("session_no",))
        with run.warehouse.frames(
            _found=found.with_columns(
                pl.col("entered_at").cast(pl.Datetime("us")), pl.col("step_at").cast(pl.List(pl.Datetime("us")))
            )
        ):
            into = "insert into found_attempts" if shard else "create or replace temp table found_attempts as"
            run.warehouse.execute(f"{into} from _found")


def _begin_again(run: Run, values: dict[str, Any]) -> None:
    """A funnel over all time begins at the first date with data: where that moved, all its persons are walked again."""
    stale = "funnel = $funnel and period_start <> $first_date"
    if run.warehouse.value(f"select count(*) from {ATTEMPTS} where {stale}", values):
        run.forget(STEPS, stale, values)
        run.warehouse.execute("insert into funnel_persons select distinct person_id from core.placements")


def _first_date(run: Run, funnel: Funnel) -> date | None:
    """Where a funnel over all time begins, which names its only period; None without data."""
    first = first_date(run)
    return funnel.from_ or first if first else None


def _rows_of(funnel: Funnel) -> str:
    """Where events, placements and sessions are read: a funnel over all time also asks for persons nobody touched."""
    return "core." if funnel.entry_period == "all" else "people_"


def _us(run: Run) -> int:
    return int(run.warehouse.value("select epoch_us(cast($at as timestamp))", {"at": run.horizon}))


def _facts(run: Run, funnel: Funnel, shard: int, shards: int) -> pl.DataFrame:
    """The events that the kernel walks: those of a shard of the touched persons that match a step or an exclude."""
    values: dict[str, Any] = {
        "horizon": run.horizon,
        "window": timedelta(microseconds=window_us(funnel)),
        "shard": shard,
        "shards": shards,
    }
    steps, excludes = [], []
    for number, step in enumerate(funnel.steps):
        condition, bound = matches(step, f"step_{number}")
        steps.append(condition)
        values |= bound
    for number, exclude in enumerate(funnel.exclude):
        condition, bound = matches(Step(event=exclude.event), f"exclude_{number}")
        excludes.append(condition)
        values |= bound
    asked = ""
    if excludes:
        asked += f", cast({_mask(excludes)} as uinteger) as excludes"
    if funnel.breakdown:
        asked += f", {column(funnel.breakdown)} as breakdown"
        values["breakdown_path"] = property_path(funnel.breakdown)
    if funnel.order == "strict":
        ignored, bound = _ignored(funnel)
        values |= bound
        wanted = f"(e.is_bearing and not {ignored} or {_any(steps + excludes)})"
    else:
        wanted = _any(steps + excludes)
    rows_of = _rows_of(funnel)
    if funnel.unit == "session":
        unit = "p.session_no"
        whose = (
            f"p.session_no in (select session_no from {rows_of}sessions "
            "where person_id in (select key from funnel_persons))"
        )
    else:
        unit, whose = "p.person_id", "p.person_id in (select key from funnel_persons)"
    if funnel.entry_period == "all":
        is_inside = "p.date <= $to" if funnel.to else "p.event_at <= $horizon - $window"
        period = f"case when p.date >= $first_date and {is_inside} then cast($first_date as date) end"
        values |= {"first_date": _first_date(run, funnel), "to": funnel.to}
    else:
        period = START[funnel.entry_period].format(date="p.date")
    return run.warehouse.frame(
        f"""
        select
            {unit} as unit_id,
            epoch_us(p.event_at) as at,
            {period} as period_start,
            cast({_mask(steps)} as uinteger) as steps,
            p.session_no
            {asked}
        from {rows_of}placements as p
        inner join {rows_of}events as e on p.event_no = e.event_no
        left join {rows_of}sessions as s on p.session_no = s.session_no
        where not p.is_bot and {unit} % $shards = $shard and {whose} and {wanted}
        order by unit_id, p.event_at, e.seq nulls last, e.event_id, e.source, e.event_no
        """,
        values,
    )


def _ignored(funnel: Funnel) -> tuple[str, dict[str, Any]]:
    """SQL condition of an event e: that it only reports what somebody does on a page; and what it binds."""
    values = {f"ignored_{number}": like(name) for number, name in enumerate(funnel.strict_ignore)}
    return _any([rf"e.name like ${name} escape '\'" for name in values] or ["false"]), values


def _any(conditions: list[str]) -> str:
    return " or ".join(f"({condition})" for condition in conditions).join(("(", ")"))


def _mask(conditions: list[str]) -> str:
    bits = (f"case when {condition} then {1 << bit} else 0 end" for bit, condition in enumerate(conditions))
    return " + ".join(bits) or "0"


def _fill_cells(run: Run, funnel: Funnel, values: dict[str, Any]) -> int:
    """Make the cells again in which an attempt changed, which were not complete before, or which are not there yet."""
    warehouse = run.warehouse
    if funnel.entry_period == "all":
        # One period, which ends one window before the horizon, or with the date that is set.
        ends_at = instant("cast($to as date) + 1") if funnel.to else "$horizon - $complete_after"
        warehouse.execute(
            "create or replace temp table periods as "
            f"select cast($first_date as date) as period_start, {ends_at} as period_end_at "
            "where $first_date is not null",
            {**values, "to": funnel.to},
        )
    else:
        lay_periods(run, funnel.entry_period, "periods")
    warehouse.execute(
        f"""
        create or replace temp table cells as
        select period_start, period_end_at from periods
        where
            period_start in (
                select period_start from old_funnel_attempts union select period_start from new_funnel_attempts
            )
            or $whole or period_end_at + $complete_after > cast($before as timestamp)
            or period_start not in (select period_start from {STEPS} where funnel = $funnel)
        """,
        {**values, "before": run.horizon_before, "whole": run.whole},
    )
    steps = pl.DataFrame(
        {"step_no": range(1, len(funnel.steps) + 1), "step_name": [step.label for step in funnel.steps]},
        schema={"step_no": pl.Int16, "step_name": pl.String},
    )
    with warehouse.frames(_steps=steps):
        warehouse.execute("create or replace temp table steps as select * from _steps")
    return run.replace(
        STEPS,
        warehouse.query(STEPS),
        {**values, "period": funnel.entry_period},
        scope=f"funnel = $funnel and {'true' if run.whole else AFFECTED}",
        key="funnel, period_start, breakdown_value, step_no",
    )
