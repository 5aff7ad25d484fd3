"""Funnels, sessions, journey edges and retention of random histories are those that ClickHouse finds.

ClickHouse (chdb) runs in an environment and a process of its own.
"""

from __future__ import annotations

import json
import random
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from transforms.definitions import DAY_US, MINUTE_US, Funnel, Journey, Retention, Sessions, Step
from transforms.funnels import attempts
from transforms.journeys import walk
from transforms.retention import entries, facts_query
from transforms.sessions import cut
from warehouse import open_warehouse

DAY = date(2026, 1, 5)
WEEK_MS = 7 * 86_400_000
WINDOWS_MS = (0, 60_000, 3_600_000, 86_400_000, WEEK_MS)
MOST = 6  # steps of a journey
PROGRAM = """
import json, sys
from chdb import session
clickhouse = session.Session()
for query in json.load(sys.stdin):
    rows = str(clickhouse.query(query, "JSONCompactEachRow")).splitlines()
    print(json.dumps([json.loads(row) for row in rows]))
"""


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """Few kinds, few pages, many ties: some persons all in a minute, some over five weeks."""
    draw = random.Random(6)
    rows = []
    for person in range(700):
        span = draw.choice((60_000, 3_600_000, 86_400_000, 5 * WEEK_MS))
        grain = draw.choice((1, 1000, 60_000, span // 8))
        for _ in range(draw.randrange(1, 40)):
            ms = 1_767_571_200_000 + draw.randrange(span) // grain * grain
            rows.append((person, ms, draw.randrange(6), f"/{draw.choice('aaabcd')}"))
    told = pl.DataFrame(rows, schema=["person", "ms", "kind", "page"], orient="row")
    return told.sort("person", "ms", maintain_order=True).with_row_index("event_no")


@pytest.fixture(scope="module")
def answers(events: pl.DataFrame, clickhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ClickHouse says to each question."""
    path = tmp_path_factory.mktemp("clickhouse") / "events.parquet"
    events.write_parquet(path)
    table = f"file('{path}', Parquet)"
    questions = {
        f"funnel {count} {window}": f"select person, windowFunnel({window})(toUInt64(ms), "
        f"{', '.join(f'kind = {step}' for step in range(count))}) as level from {table} "
        "group by person having level > 0 order by person"
        for count in (2, 3, 4)
        for window in WINDOWS_MS
    }
    questions["sessions"] = (
        "select person, min(ms) as began, max(ms), count() from (select person, ms, sum(is_first) over "
        "(partition by person order by event_no) as number from (select *, event_no = first_value(event_no) over w "
        "or ms - lagInFrame(ms) over w > 1800000 as is_first from "
        f"{table} window w as (partition by person order by event_no rows between unbounded preceding and current row)"
        ")) "
        "group by person, number order by person, began"
    )
    questions["edges"] = (
        "select step, f, t, count() from (select arrayCompact(arrayMap(one -> one.2, arraySort(groupArray((event_no, "
        f"page))))) as whole, arraySlice(whole, 1, {MOST}) as way from {table} group by person) "
        "array join way as f, arrayConcat(arrayPopFront(way), "
        f"[if(length(whole) > {MOST}, '(more)', '(exit)')]) as t, arrayEnumerate(way) as step "
        "group by step, f, t order by step, f, t"
    )
    for cohort in range(5):
        weeks = ", ".join(f"week = {cohort + k} and kind in (1, 2)" for k in range(1, 4))
        questions[f"retention {cohort}"] = (
            "select sum(r[1]), sum(r[2]), sum(r[3]), sum(r[4]) from (select retention("
            f"week = {cohort} and kind in (0, 1), {weeks}) as r from (select person, kind, "
            f"intDiv(ms - 1767571200000, {WEEK_MS}) as week from {table}) group by person)"
        )
    done = subprocess.run(
        [clickhouse, "-c", PROGRAM],
        input=json.dumps(list(questions.values())),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(questions, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("window", WINDOWS_MS)
def test_the_best_start_of_all_time_is_that_of_window_funnel(
    events: pl.DataFrame, answers: dict[str, Any], count: int, window: int
) -> None:
    steps = tuple(Step(event=str(step)) for step in range(count))
    funnel = Funnel("f", steps, window_us=window * 1000, entry_period="all", reentry="optimized", ties="either")
    frame = events.filter(pl.col("kind") < count).select(
        pl.col("person").alias("unit_id"),
        at=pl.col("ms") * 1000,
        period_start=pl.lit(DAY),
        steps=pl.lit(2).pow(pl.col("kind")).cast(pl.UInt32),
        excludes=pl.lit(0, pl.UInt32),
        breakdown=pl.lit(None, pl.String),
    )
    found = attempts(frame, funnel, horizon_us=2**62).select("unit_id", "depth").rows()
    assert [list(row) for row in found] == answers[f"funnel {count} {window}"]


def test_sessions_begin_and_end_where_a_lag_of_half_an_hour_says(events: pl.DataFrame, answers: dict[str, Any]) -> None:
    frame = events.select(
        pl.col("event_no").cast(pl.Int64), device_id="person", at=pl.col("ms") * 1000, is_bearing=pl.lit(True)
    )
    placed = cut(frame, Sessions(gap_us=30 * MINUTE_US, cap_us=365 * DAY_US, cut_on_events=()))
    found = placed.group_by("device_id", "session_no").agg(
        began=pl.col("at").min() // 1000, ended=pl.col("at").max() // 1000, event_n=pl.len()
    )
    rows = found.sort("device_id", "began").select("device_id", "began", "ended", "event_n").rows()
    assert [list(row) for row in rows] == answers["sessions"]


def test_edges_are_those_of_neighbours(events: pl.DataFrame, answers: dict[str, Any]) -> None:
    frame = events.select(
        unit_id="person",
        at=pl.col("ms") * 1000,
        node="page",
        date=pl.lit(DAY),
        is_start=pl.lit(False),
        is_end=pl.lit(False),
        converted_at=pl.lit(None, pl.Int64),
        is_open=pl.lit(False),
    )
    walked = walk(frame, Journey("j", max_steps=MOST)).edges.with_columns(pl.col("from_node", "to_node").cast(str))
    counted = walked.group_by("step_no", "from_node", "to_node").len().sort("step_no", "from_node", "to_node")
    assert [list(row) for row in counted.rows()] == answers["edges"]


def test_recurring_cohorts_return_as_retention_says(events: pl.DataFrame, answers: dict[str, Any]) -> None:
    retention = Retention("r", Step(event="s"), Step(event="r"), intervals=3, entry="recurring")
    told = events.filter(pl.col("kind") < 3).select(
        pl.col("event_no"),
        person_id="person",
        at=pl.col("ms") * 1000,
        period_no_abs=(pl.col("ms") - 1_767_571_200_000) // WEEK_MS,
        period_start=pl.lit(DAY),
        is_start=pl.col("kind").is_in([0, 1]),
        is_return=pl.col("kind").is_in([1, 2]),
        value=pl.lit(None, pl.Float64),
        breakdown=pl.lit(None, pl.String),
        seq=pl.lit(1),
        event_id=pl.lit("e"),
        source=pl.lit("web"),
    )
    warehouse = open_warehouse(None)
    with warehouse.frames(_told=told):
        found = entries(warehouse.frame(facts_query("select * from _told", retention)), retention)
    counted = {(row[0], row[1]): row[2] for row in found.group_by("cohort_no", "period_no").len().rows()}
    for cohort in range(5):
        assert [[counted.get((cohort, k), 0) for k in (-1, 1, 2, 3)]] == answers[f"retention {cohort}"]
