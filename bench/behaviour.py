"""Funnel, sessions, journey edges and retention: the project's kernels beside ClickHouse (chdb), in one process.

    python bench/behaviour.py [--events 20000000] [--persons 400000] [--threads 2] [--runs 5] [--only funnel]

Both start from the same narrow rows, with whole numbers for persons, visits and kinds: footfall from a table in DuckDB,
ClickHouse from a MergeTree table, once in time order and once in the order of persons (journeys: of visits). footfall's
time includes sorting, reading and counting. In turns, medians; the answers must be equal. ClickHouse is asked in the
plainest form and, where there is one, in its quickest. chdb is no part of footfall: pip install chdb, in an environment
made for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import duckdb
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from transforms.definitions import DAY_US, Funnel, Journey, Retention, Sessions, Step
from transforms.funnels import attempts
from transforms.journeys import walk
from transforms.retention import entries, facts_query
from transforms.sessions import cut
from transforms.total_order import Numbers, in_order

try:
    from chdb import session as clickhouse
except ImportError:
    sys.exit("This measurement needs ClickHouse beside footfall: pip install chdb, in an environment made for it.")

START = date(2026, 1, 5)
DAYS = 28
WEEK_US = 7 * DAY_US

# Visits of eight events, half of which are steps; times in whole milliseconds, as footfall keeps them.
MADE = """
create table by_time as
select
    i // 8 as visit,
    cast(hash(i // 8 * 3 + 1) % $persons as bigint) as person,
    epoch_us(timestamp '2026-01-05')
    + (cast(hash(i // 8 * 5 + 2) % ($days * 86400000::bigint) as bigint) + (i % 8) * 40000
        + cast(hash(i * 7 + 3) % 40000 as bigint)) * 1000 as us,
    i as event_no,
    cast(hash(i * 11 + 4) % 8 as utinyint) as kind,
    cast('/page/' || cast(floor(pow((hash(i * 13 + 5) % 100000) / 100000.0, 2) * 200) as integer) as page) as page
from range($events) as t(i)
order by us
"""

Answer = list[tuple[int, ...]]


class Question(NamedTuple):
    """The same question in both worlds. `key`: the second layout is in its order; `forms`: ClickHouse's, by name."""

    name: str
    key: str
    ours: Callable[[duckdb.DuckDBPyConnection, str], Answer]
    forms: dict[str, str]


def funnel(con: duckdb.DuckDBPyConnection, table: str) -> Answer:
    steps = tuple(Step(event=name) for name in ("view", "add", "checkout", "order"))
    asked = Funnel("bench", steps, window_us=WEEK_US, entry_period="all", reentry="optimized")
    frame = con.sql(
        f"select person as unit_id, us as at, cast(1 << kind as uinteger) as steps from {table} where kind < 4"
    ).pl()
    found = attempts(frame.with_columns(period_start=pl.lit(START)), asked, horizon_us=2**62)
    return found.group_by("depth").len().sort("depth").rows()


def sessions(con: duckdb.DuckDBPyConnection, table: str) -> Answer:
    frame = con.sql(f"select person as device_id, us as at, event_no from {table}").pl()
    frame = in_order(frame, "device_id")
    placed = cut(frame.with_columns(is_bearing=pl.lit(True)), Sessions(cut_on_events=()))
    session_no, at = placed["session_no"].to_numpy(), placed["at"].to_numpy()
    begin = np.flatnonzero(np.append(True, session_no[1:] != session_no[:-1]))
    end = np.append(begin[1:], len(at)) - 1
    return [(len(begin), int((at[end] - at[begin]).sum()))]


def edges(con: duckdb.DuckDBPyConnection, table: str) -> Answer:
    frame = in_order(con.sql(f"select visit as unit_id, us as at, page as node from {table}").pl(), "unit_id")
    frame = frame.with_columns(
        date=pl.lit(START),
        is_start=pl.lit(False),
        is_end=pl.lit(False),
        converted_at=pl.lit(None, pl.Int64),
        is_open=pl.lit(True),
    )
    found = walk(frame, Journey("bench", max_steps=8)).edges
    here, there = (found[name].to_physical().to_numpy() for name in ("from_node", "to_node"))
    node_n = int(max(here.max(), there.max())) + 1
    weight = np.bincount((found["step_no"].to_numpy() * np.int64(node_n) + here) * node_n + there)
    edge = np.flatnonzero(weight)
    return _sums(edge // node_n**2, _page(edge // node_n % node_n), _page(edge % node_n), weight[edge])


def _page(code: Numbers) -> Numbers:
    """The number in the name of the page that has this number among all names."""
    names = pl.Series(code.astype(np.uint32)).cat.to(pl.Categorical).cast(pl.String)
    return names.str.strip_prefix("/page/").cast(pl.Int64).to_numpy()


def _sums(step: Numbers, here: Numbers, there: Numbers, weight: Numbers) -> Answer:
    """So many edges that only sums of them are compared: number, weight, and weights by step and names."""
    sums = (weight.sum(), (weight**2).sum(), (weight * step * (here * 3 + there)).sum())
    return [(len(weight), *(int(one) for one in sums))]


def retention(con: duckdb.DuckDBPyConnection, table: str) -> Answer:
    visitors = Retention("bench", Step(page="*"), Step(page="*"), intervals=3)
    lines = (
        f"select person as person_id, us as at, us // {WEEK_US} as period_no_abs, date '2026-01-05' as period_start, "
        f"null as value from {table}"
    )
    frame = con.sql(facts_query(lines, visitors)).pl()
    found = entries(frame, visitors).filter(pl.col("period_no") >= 0)
    return found.group_by("cohort_no", "period_no").len().sort("cohort_no", "period_no").rows()


# Of the edges ClickHouse, too, gives sums, so that the answers can be compared.
EDGES = """
select
    count(), sum(n), sum(n * n),
    sum(n * step * (toInt64(replaceOne(f, '/page/', '')) * 3 + toInt64(replaceOne(t, '/page/', ''))))
from ({})
"""
OVER = "over (partition by visit order by ms rows between unbounded preceding and unbounded following)"
QUESTIONS = (
    Question(
        "funnel",
        "person",
        funnel,
        {
            "windowFunnel": f"select level, count() from (select person, windowFunnel({WEEK_US // 1000})(ms, kind = 0, "
            "kind = 1, kind = 2, kind = 3) as level from {table} where kind < 4 group by person) "
            "where level > 0 group by level order by level",
        },
    ),
    Question(
        "sessions",
        "person",
        sessions,
        {
            "lag": "select countIf(is_first), sum(if(is_first, 0, gap)) * 1000 from (select ms - before as gap, "
            "before = 0 or ms - before > 1800000 as is_first from (select ms, lagInFrame(ms) over "
            "(partition by person order by ms) as before from {table}))",
            "arrays": "select sum(1 + arrayCount(gap -> gap > 1800000, gaps)), "
            "sum(arraySum(arrayFilter(gap -> gap <= 1800000, gaps))) * 1000 from (select person, "
            "arrayDifference(arraySort(groupArray(ms))) as gaps from {table} group by person)",
        },
    ),
    Question(
        "journey edges",
        "visit",
        edges,
        {
            "lead": EDGES.format(
                f"select f, t, step, count() as n from (select page as f, leadInFrame(page) {OVER} as t, "
                f"row_number() {OVER} as step from (select visit, ms, page, lagInFrame(page) over (partition by visit "
                "order by ms) as before from {table}) where page != before) where t != '' group by f, t, step"
            ),
            "arrays": EDGES.format(
                "select f, t, step, count() as n from (select arrayCompact(arrayMap(one -> one.2, "
                "arraySort(groupArray((ms, page))))) as way from {table} group by visit) array join "
                "arrayPopBack(way) as f, arrayPopFront(way) as t, arrayEnumerate(arrayPopBack(way)) as step "
                "group by f, t, step"
            ),
        },
    ),
    Question(
        "retention",
        "person",
        retention,
        {
            "a set of weeks": "select cohort, k, count() from (select person, groupUniqArray(week) as weeks, "
            "arrayMin(weeks) as cohort from (select person, intDiv(ms, {week}) as week from {table}) group by person) "
            "array join arrayMap(week -> week - cohort, weeks) as k where k < 4 group by cohort, k order by cohort, k",
            "bits": "select cohort, k, count() from (select person, min(intDiv(ms, {week})) as cohort, "
            "groupBitOr(bitShiftLeft(1::UInt64, intDiv(ms, {week}) % 64)) as weeks from {table} group by person) "
            "array join range(4) as k where bitTest(weeks, (cohort + k) % 64) group by cohort, k order by cohort, k",
        },
    ),
)


def load(con: duckdb.DuckDBPyConnection, session: clickhouse.Session, folder: Path) -> None:
    """The same rows as MergeTree tables, by way of Parquet: in time order, by person and by visit."""
    rows = folder / "rows.parquet"
    con.execute(f"copy (select * exclude (page), cast(page as varchar) as page from by_time) to '{rows}'")
    for table, order in (("by_time", "us"), ("by_person", "person, us"), ("by_visit", "visit, us")):
        if table != "by_time":
            con.execute(f"create table {table} as select * from by_time order by {order}")
        session.query(
            f"create table {table} (visit Int64, person Int64, ms UInt64, event_no Int64, kind UInt8, "
            f"page LowCardinality(String)) engine = MergeTree order by ({order.replace('us', 'ms')})"
        )
        session.query(
            f"insert into {table} select visit, person, intDiv(us, 1000), event_no, kind, page from file('{rows}')"
        )
        session.query(f"optimize table {table} final")
    rows.unlink()
    con.execute("checkpoint")


def timed(work: Callable[[], Answer]) -> tuple[Answer, float, float]:
    """The answer, seconds by the clock, and of the processors: the latter say more on a machine that others use too."""
    started, used = time.perf_counter(), time.process_time()
    answer = work()
    return answer, time.perf_counter() - started, time.process_time() - used


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--persons", type=int, default=400_000)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--only", choices=[question.name for question in QUESTIONS])
    asked = options.parse_args()
    console = Console(width=max(Console().width, 120))
    console.print(f"{asked.events:,} events of {asked.persons:,} persons in {DAYS} days, median of {asked.runs}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        con = duckdb.connect(folder / "events.duckdb", config={"threads": asked.threads})
        con.execute("create type page as enum (select '/page/' || range from range(200))")
        con.execute(MADE, {"events": asked.events, "persons": asked.persons, "days": DAYS})
        session = clickhouse.Session(str(folder / "clickhouse"))
        session.query("create database bench")
        session.query("use bench")
        session.query(f"set max_threads = {asked.threads}")
        load(con, session, folder)
        for question in QUESTIONS:
            if asked.only not in (None, question.name):
                continue
            for layout in ("by_time", f"by_{question.key}"):
                console.print(measure(question, layout, con, session, asked.runs))
        con.close()
    console.print(
        f"The same answers in all. {asked.threads} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, duckdb {duckdb.__version__}, polars {pl.__version__}, "
        f"ClickHouse {clickhouse_version()}, most memory held "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    )


def measure(
    question: Question,
    layout: str,
    con: duckdb.DuckDBPyConnection,
    session: clickhouse.Session,
    runs: int,
) -> Table:
    """One after the other, again and again: the machine's load falls on all alike. The first round warms up."""

    def clickhouse_answer(form: str) -> Answer:
        told = str(session.query(form.replace("{table}", layout).replace("{week}", str(WEEK_US // 1000)), "CSV"))
        return [tuple(int(one) for one in line.split(",")) for line in told.strip().splitlines()]

    contestants: dict[str, Callable[[], Answer]] = {"footfall": lambda: question.ours(con, layout)}
    for name, form in question.forms.items():
        contestants[f"ClickHouse, {name}"] = lambda form=form: clickhouse_answer(form)  # type: ignore[misc]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    answers: dict[str, Answer] = {}
    for number in range(runs + 1):
        for name, work in contestants.items():
            answers[name], clock, processor = timed(work)
            if number:
                seconds[name].append((clock, processor))
    if any(answer != answers["footfall"] for answer in answers.values()):
        sys.exit(f"{question.name}, {layout}: the answers differ: {answers}.")
    clock = {name: statistics.median(run[0] for run in taken) for name, taken in seconds.items()}
    processor = {name: statistics.median(run[1] for run in taken) for name, taken in seconds.items()}
    table = Table(title=f"{question.name}, rows in order of {layout.removeprefix('by_')}", title_justify="left")
    for column in ("", "median s", "all s", "times footfall", "processor s", "times footfall"):
        table.add_column(column, justify="right" if column else "left", min_width=24 if not column else None)
    for name, taken in seconds.items():
        table.add_row(
            name,
            f"{clock[name]:.2f}",
            " ".join(f"{run[0]:.2f}" for run in taken),
            f"{clock[name] / clock['footfall']:.1f}",
            f"{processor[name]:.2f}",
            f"{processor[name] / processor['footfall']:.1f}",
        )
    return table


def clickhouse_version() -> str:
    import chdb

    return str(getattr(chdb, "engine_version", getattr(chdb, "__version__", "?")))


if __name__ == "__main__":
    main()
