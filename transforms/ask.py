"""A funnel that nobody has defined: asked of the published file, walked by the same kernel."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from transforms.definitions import Funnel, Step
from transforms.funnels import attempts, needs_order
from transforms.steps import EVENT_COLUMNS, SESSION_COLUMNS, column, matches, property_path
from warehouse import Warehouse

MOST_STEPS = 20
SHOWN_NAMES = 12


class QuestionError(Exception):
    """The question cannot be answered; the message says what of it, and what was probably meant."""


@dataclass(frozen=True)
class Row:
    """One value of the breakdown: of each step how many reached it, and their median seconds from the first step."""

    value: str
    reached_n: tuple[int, ...]
    from_start_s: tuple[float | None, ...]


@dataclass(frozen=True)
class Answer:
    """Persons by step: `total` over all, `rows` by value, most first (empty without a breakdown).

    They entered from `first_date` to `last_date` and were followed for the window; the events are those of
    `events_from` to `events_to`. `open_n` of them can still go on: 0, unless no window in the file is over yet.
    """

    steps: tuple[Step, ...]
    total: Row
    rows: tuple[Row, ...]
    events_from: date
    events_to: date
    first_date: date
    last_date: date
    open_n: int
    notes: tuple[str, ...]


def read_steps(text: str) -> tuple[Step, ...]:
    """The steps of "A > B > /page*": event names or, with a slash first, paths of pages; both are globs."""
    parts = [part.strip() for part in text.split(">")]
    if "" in parts and len(parts) > 1:
        raise QuestionError(f'Step {parts.index("") + 1} of "{text}" is empty. Write a name between two ">".')
    if len(parts) < 2:
        raise QuestionError(
            f'"{text}" is one step, and a funnel needs two or more: "Product Viewed > Order Completed".'
        )
    if len(parts) > MOST_STEPS:
        raise QuestionError(f"There are {len(parts)} steps; a funnel has {MOST_STEPS} at most.")
    return tuple(Step(page=part) if part.startswith("/") else Step(event=part) for part in parts)


def ask(bi: Path, text: str, *, window: timedelta, by: str | None = None) -> Answer:
    """How many persons go the steps of `text` in the published file `bi`, in order, within `window` of the first.

    Each counts once, from the first time of step 1; only who entered so early that the window is over counts,
    unless nobody did. `by` names a column of events or sessions, or a property: its value at step 1. Raises
    QuestionError for names that do not occur.
    """
    steps = read_steps(text)
    window_us = window // timedelta(microseconds=1)
    options: dict[str, Any] = {"enable_external_access": "false", "lock_configuration": "true"}
    with duckdb.connect(str(bi), read_only=True, config=options) as con:
        file = Warehouse(con, bi)
        events_from, events_to = file.execute("select min(date), max(date) from core.events where not is_bot")[0]
        if events_from is None:
            raise QuestionError(
                f"{bi} holds no event of a person: the last days had none. To have more days in it, raise "
                "events_days under [publish] and publish again."
            )
        notes = list(_check_steps(file, steps, events_from, events_to))
        funnel = Funnel("question", steps, window_us=window_us, entry_period="all", breakdown=by)
        horizon_us, is_over, last_date = file.execute(
            """
            select
                epoch_us(horizon), (select min(event_at) from core.events where not is_bot) <= horizon - $window,
                cast(timezone(timezone, timezone('UTC', horizon - $window)) as date)
            from meta.build_info
            """,
            {"window": window},
        )[0]
        facts = _facts(file, funnel, (horizon_us - window_us) if is_over else horizon_us)
    if by and not facts["breakdown"].drop_nulls().len():
        raise QuestionError(_no_value(by, steps[0]))
    found = attempts(facts, funnel, horizon_us=horizon_us)
    values = found["breakdown_value"].value_counts(sort=True)["breakdown_value"].to_list() if by else []
    return Answer(
        steps=steps,
        total=_row("(all)", found, len(steps)),
        rows=tuple(_row(value, found.filter(pl.col("breakdown_value") == value), len(steps)) for value in values),
        events_from=events_from,
        events_to=events_to,
        first_date=events_from,
        last_date=last_date if is_over else events_to,
        open_n=found.filter("is_open").height,
        notes=tuple(notes),
    )


def _check_steps(file: Warehouse, steps: Iterable[Step], since: date, until: date) -> Iterable[str]:
    """Notes on steps that anything meets; QuestionError for those that nothing meets."""
    names = dict(file.execute("select name, count(*) from core.events where not is_bot group by name order by 2 desc"))
    paths = dict(
        file.execute(
            "select path, count(*) from core.events "
            "where not is_bot and is_page and path is not null group by path order by 2 desc"
        )
    )
    for number, step in enumerate(steps, 1):
        known = names if step.event is not None else paths
        what = "event is called" if step.event is not None else "page has the path"
        condition, bound = matches(step, "step")
        count = file.value(f"select count(*) from core.events as e where not e.is_bot and {condition}", bound)
        if not count:
            close = _close(step.label, known)
            hint = f'Did you mean "{close}"?' if close else f"There are: {_listed(known)}."
            raise QuestionError(f'No {what} "{step.label}" from {since} to {until}. {hint}')
        if len(known) > 1 and count == sum(known.values()) and "*" in step.label:
            all_of = "event" if step.event is not None else "page"
            yield f'Step {number}, "{step.label}", is met by every {all_of}: it tells only that somebody was there.'


def _close(name: str, known: Iterable[str]) -> str | None:
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), lower, 1, 0.6)
    return lower[close[0]] if close else None


def _listed(known: dict[str, int]) -> str:
    shown = [f'"{name}"' for name in list(known)[:SHOWN_NAMES]]
    return ", ".join([*shown, f"and {len(known) - SHOWN_NAMES} more"] if len(known) > SHOWN_NAMES else shown) or "none"


def _no_value(by: str, step: Step) -> str:
    names = sorted(EVENT_COLUMNS | SESSION_COLUMNS)
    close = difflib.get_close_matches(by.lower(), names, 1, 0.6)
    hint = f'Did you mean "{close[0]}"?' if close else f"Columns are: {', '.join(names)}."
    return f'No "{step.label}" has a value of "{by}", neither as a column nor as a property. {hint}'


def _facts(file: Warehouse, funnel: Funnel, last_us: int) -> pl.DataFrame:
    """What the kernel walks: the events that match a step, and which of them may begin an attempt."""
    conditions = []
    values: dict[str, Any] = {"last_us": last_us}
    for number, step in enumerate(funnel.steps):
        condition, bound = matches(step, f"step_{number}")
        conditions.append(condition)
        values |= bound
    breakdown = ""
    if funnel.breakdown:
        breakdown = f", cast({column(funnel.breakdown)} as varchar) as breakdown"
        values["breakdown_path"] = property_path(funnel.breakdown)
    mask = " + ".join(f"case when {condition} then {1 << bit} else 0 end" for bit, condition in enumerate(conditions))
    return file.frame(
        f"""
        select
            e.person_id as unit_id,
            epoch_us(e.event_at) as at,
            case when epoch_us(e.event_at) <= $last_us then date '1970-01-01' end as period_start,
            cast({mask} as uinteger) as steps
            {breakdown}
        from core.events as e
        left join core.sessions as s on e.session_id = s.session_id
        where
            e.person_id is not null and not coalesce(s.is_bot, e.is_bot)
            and ({" or ".join(f"({condition})" for condition in conditions)})
        {"order by unit_id, e.event_at, e.event_id, e.source" if needs_order(funnel) else ""}
        """,
        values,
    )


def _row(value: str, found: pl.DataFrame, count: int) -> Row:
    reached = [found.filter(pl.col("depth") > step) for step in range(count)]
    seconds = [
        part.select(((pl.col("step_at").list.get(step) - pl.col("entered_at")) / 1e6).median()).item()
        for step, part in enumerate(reached)
    ]
    return Row(value, tuple(part.height for part in reached), tuple(seconds))
