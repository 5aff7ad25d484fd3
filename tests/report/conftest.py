"""A published file as publish writes it, with a shop's traffic in it and some hostile names."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from math import exp, sin
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

HORIZON = datetime(2026, 11, 21, 14, 30)
NOW = datetime(2026, 11, 21, 15, 0)
HOSTILE = '/<img src=x onerror="window.owned=1">/</script><script>window.owned=1</script><!--'
HOSTILE_NAME = "</title><script>window.owned=1</script>"

SCHEMA = """
create schema marts; create schema meta; create schema core;
create table marts.traffic_daily (
    source varchar, date date, channel varchar, device varchar, country varchar, is_bot boolean,
    visitor_n bigint, new_visitor_n bigint, session_n bigint, closed_session_n bigint, page_session_n bigint,
    engaged_session_n bigint, converted_session_n bigint, bounce_n bigint, page_view_n bigint, order_n bigint,
    revenue_amt decimal(18, 4), bounce_pct double, engagement_pct double, conversion_pct double,
    visitor_conversion_pct double, aov_amt decimal(18, 4), session_s double, engaged_s double, is_complete boolean
);
create table marts.traffic_totals (
    source varchar, period varchar, period_start date, is_bot boolean,
    visitor_n bigint, new_visitor_n bigint, session_n bigint, closed_session_n bigint, page_session_n bigint,
    engaged_session_n bigint, converted_session_n bigint, bounce_n bigint, page_view_n bigint, order_n bigint,
    revenue_amt decimal(18, 4), bounce_pct double, engagement_pct double, conversion_pct double,
    visitor_conversion_pct double, aov_amt decimal(18, 4), session_s double, engaged_s double, is_complete boolean
);
create table marts.funnel_steps (
    funnel varchar, period_start date, breakdown_value varchar, step_no integer, period varchar, step_name varchar,
    reached_n bigint, reached_n_to_date bigint, step_pct double, overall_pct double, overall_lo double,
    overall_hi double, from_start_median_s double, from_start_p90_s double, from_prev_median_s double,
    open_n bigint, excluded_n bigint, is_complete boolean
);
create table marts.funnel_attempts (
    funnel varchar, person_id bigint, session_id varchar, period_start date, entered_at timestamp, depth integer,
    step_at timestamp[], breakdown_value varchar, is_open boolean, is_excluded boolean
);
create table marts.journey_edges (
    journey varchar, date date, step_no integer, from_node varchar, to_node varchar, unit_n bigint, median_s double
);
create table marts.journey_paths (
    journey varchar, date date, path varchar, unit_n bigint, conversion_n bigint
);
create table marts.retention_cells (
    retention varchar, cohort_start date, breakdown_value varchar, period_no integer, period varchar,
    cohort_n bigint, retained_n bigint, retained_pct double, value decimal(18, 4), is_complete boolean,
    is_final boolean, is_censored boolean
);
create table meta.build_info (
    built_at timestamp, version varchar, definitions_hash varchar, landed_to timestamp, horizon timestamp,
    build_id varchar, site_name varchar, timezone varchar, currency varchar
);
create table meta.quality (check_name varchar, value double, expected double, is_ok boolean);
create table meta.restatements (
    table_name varchar, key varchar, column_name varchar, was double, now double, why varchar,
    restated_at timestamp, build_id varchar
);
create table meta.data_dictionary (
    schema_name varchar, table_name varchar, column_name varchar, data_type varchar, description varchar
);
"""

CHANNELS = {
    "Organic Search": (30, 0.034), "Direct": (22, 0.042), "Paid Search": (17, 0.051), "Organic Social": (9, 0.012),
    "Email": (7, 0.067), "Referral": (6, 0.024), "Paid Social": (5, 0.016), "AI Assistant": (3, 0.048),
    "Display": (2, 0.006), "(none)": (1, 0.0),
}  # fmt: skip
PAGES = {
    "/": {
        "/category/shoes": 30,
        "/category/bags": 18,
        "/search": 16,
        "/sale": 12,
        "/blog/:id": 7,
        "(exit)": 40,
    },
    "/category/shoes": {"/product/:id": 60, "/category/bags": 9, "/": 8, "(exit)": 22},
    "/category/bags": {"/product/:id": 52, "/category/shoes": 8, "/": 9, "(exit)": 26},
    "/search": {"/product/:id": 48, "/search/none": 12, "/category/shoes": 8, "(exit)": 28},
    "/search/none": {"/": 30, "(exit)": 60},
    "/sale": {"/product/:id": 64, "/category/shoes": 8, "(exit)": 22},
    "/product/:id": {"/cart": 26, "/category/shoes": 16, "/product/:id/reviews": 9, "/": 7, "(exit)": 44},
    "/product/:id/reviews": {"/product/:id": 40, "/cart": 14, "(exit)": 40},
    "/cart": {"/checkout": 52, "/product/:id": 12, "(exit)": 34},
    "/checkout": {"/checkout/thanks": 66, "/cart": 8, "(exit)": 24},
    "/checkout/thanks": {"(exit)": 80, "/account": 12},
    "/account": {"/": 20, "(exit)": 60},
    "/blog/:id": {"/": 20, "/blog/:id?": 20, HOSTILE: 10, "(exit)": 50},
    "/blog/:id?": {"(exit)": 1},
    HOSTILE: {"/": 2, "(exit)": 8},
}


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    names = ", ".join(frame.columns)
    connection.execute(f"insert into {table} ({names}) select {names} from frame")


def traffic(chance: random.Random, first: date, last: date) -> list[dict[str, Any]]:
    rows = []
    for n in range((last - first).days + 1):
        on = first + timedelta(days=n)
        season = (1 + 0.0025 * n) * (0.78 if on.weekday() >= 5 else 1.0) * (1 + 0.12 * sin(n / 11))
        part = 0.6 if on == last else 1.0
        for source, size in (("web", 1.0), ("app", 0.28)):
            for channel, (weight, conversion) in CHANNELS.items():
                for device, has in (("mobile", 0.58), ("desktop", 0.36), ("tablet", 0.06)):
                    for country, lives in (
                        ("NL", 0.5),
                        ("DE", 0.22),
                        ("BE", 0.14),
                        ("FR", 0.09),
                        ("(none)", 0.05),
                    ):
                        mean = 9 * weight * size * has * lives * season * part
                        sessions = max(0, round(chance.gauss(mean, mean**0.5)))
                        if not sessions:
                            continue
                        is_over = on < last
                        closed = sessions if is_over else sessions * 9 // 10
                        engaged = round(closed * min(1, max(0, chance.gauss(0.57, 0.05))))
                        bounced = min(closed - engaged, round(closed * chance.gauss(0.36, 0.04)))
                        converted = sum(chance.random() < conversion for _ in range(closed))
                        rows.append({
                            "source": source, "date": on, "channel": channel, "device": device, "country": country,
                            "is_bot": False, "visitor_n": max(1, round(sessions * 0.91)),
                            "new_visitor_n": round(sessions * 0.42), "session_n": sessions, "closed_session_n": closed,
                            "page_session_n": closed, "engaged_session_n": engaged, "converted_session_n": converted,
                            "bounce_n": max(0, bounced), "page_view_n": round(sessions * chance.gauss(4.1, 0.3)),
                            "order_n": converted, "revenue_amt": converted * chance.gauss(74, 9),
                            "session_s": chance.gauss(212, 22), "is_complete": is_over,
                        })  # fmt: skip
            rows.append({
                "source": source, "date": on, "channel": "Direct", "device": "bot", "country": "US", "is_bot": True,
                "visitor_n": 20, "new_visitor_n": 12, "session_n": 90, "closed_session_n": 90, "page_session_n": 90,
                "engaged_session_n": 0, "converted_session_n": 0, "bounce_n": 60, "page_view_n": 400, "order_n": 0,
                "revenue_amt": 0.0, "session_s": 2.0, "is_complete": on < last,
            })  # fmt: skip
    return rows


def funnel(chance: random.Random, first: date, last: date, name: str, window: int, steps: list[Any]) -> Any:
    rows, attempts = [], []
    for n in range((last - first).days + 1):
        on = first + timedelta(days=n)
        entered = round(chance.gauss(260, 24) * (1 + 0.002 * n))
        is_complete = on + timedelta(days=1 + window) <= HORIZON.date()
        reached = [0] * len(steps)
        for _ in range(entered):
            at = datetime(on.year, on.month, on.day) + timedelta(seconds=chance.randrange(86400))
            times = [at]
            for _, goes_on, wait in steps[1:]:
                if chance.random() > goes_on + 0.0004 * n:
                    break
                times.append(times[-1] + timedelta(seconds=wait * exp(chance.gauss(0, 1.1))))
            for step in range(len(times)):
                reached[step] += 1
            attempts.append({
                "funnel": name, "person_id": chance.getrandbits(62), "session_id": None, "period_start": on,
                "entered_at": at, "depth": len(times), "step_at": times, "breakdown_value": "(all)",
                "is_open": not is_complete and len(times) < len(steps), "is_excluded": False,
            })  # fmt: skip
        for step, count in enumerate(reached):
            rows.append({
                "funnel": name, "period_start": on, "breakdown_value": "(all)", "step_no": step + 1, "period": "day",
                "step_name": steps[step][0], "reached_n": count if is_complete else None, "reached_n_to_date": count,
                "step_pct": count / reached[step - 1] if is_complete and step and reached[step - 1] else None,
                "overall_pct": count / entered if is_complete else None,
                "open_n": 0 if is_complete else entered - reached[-1], "excluded_n": 0, "is_complete": is_complete,
            })  # fmt: skip
    return rows, attempts


def journeys(chance: random.Random, first: date, last: date) -> Any:
    edges: dict[tuple[Any, ...], int] = {}
    paths: dict[tuple[Any, ...], list[int]] = {}
    for n in range((last - first).days + 1):
        on = first + timedelta(days=n)
        for _ in range(round(chance.gauss(220, 20))):
            node, walked = "/", ["/"]
            while True:
                following = PAGES[node]
                to = chance.choices(list(following), list(following.values()))[0]
                if to != "(exit)" and len(walked) == 5:
                    to = "(more)"
                key = (on, len(walked), node, to)
                edges[key] = edges.get(key, 0) + 1
                if to in ("(exit)", "(more)"):
                    break
                walked.append(to)
                node = to
            found = paths.setdefault((on, " > ".join([*walked, to])), [0, 0])
            found[0] += 1
            found[1] += "/checkout/thanks" in walked
    return (
        [
            {"journey": "from-home", "date": on, "step_no": step, "from_node": a, "to_node": b, "unit_n": n,
             "median_s": None if b in ("(exit)", "(more)") else chance.uniform(8, 90)}
            for (on, step, a, b), n in edges.items()
        ],
        [
            {"journey": "from-home", "date": on, "path": path, "unit_n": n, "conversion_n": converted}
            for (on, path), (n, converted) in paths.items()
        ],
    )  # fmt: skip


def retention(chance: random.Random, first: date, last: date) -> list[dict[str, Any]]:
    rows = []
    start = first - timedelta(days=first.weekday())
    n = 0
    while start <= last:
        size = 0 if n == 6 else round(chance.gauss(180, 22))
        for k in range(9):
            is_complete = start + timedelta(weeks=k + 1) <= HORIZON.date()
            came = (
                size if k == 0 else sum(chance.random() < 0.05 + 0.24 * exp(-0.45 * k) for _ in range(size))
            )
            is_known = is_complete and size > 0
            rows.append({
                "retention": "buyers", "cohort_start": start, "breakdown_value": "(all)", "period_no": k,
                "period": "week", "cohort_n": size, "retained_n": came if is_complete else None,
                "retained_pct": came / size if is_known else None, "is_complete": is_complete,
                "is_final": is_complete, "is_censored": start < first + timedelta(days=30),
            })  # fmt: skip
        start += timedelta(weeks=1)
        n += 1
    return rows


def write_sample(path: Path, *, days: int = 120, seed: int = 7, site: str = "Fern & Field") -> Path:
    """A published file of a small shop that ends at HORIZON, of `days` dates, the last of them not over."""
    chance = random.Random(seed)
    last = HORIZON.date()
    first = last - timedelta(days=days - 1)
    with duckdb.connect(str(path)) as connection:
        connection.execute(SCHEMA)
        put(connection, "marts.traffic_daily", traffic(chance, first, last))
        sums = "new_visitor_n session_n closed_session_n page_session_n engaged_session_n converted_session_n"
        names = f"{sums} bounce_n page_view_n order_n".split()
        for period, again in (("day", 0.97), ("week", 0.8), ("month", 0.66)):
            connection.execute(
                "insert into marts.traffic_totals (source, period, period_start, is_bot, visitor_n, "
                + ", ".join(names)
                + ", revenue_amt, session_s, is_complete)"
                + " select coalesce(source, '(all)'), $period, date_trunc($period, date)::date as starts, is_bot,"
                + " (sum(visitor_n) * $again)::bigint, "
                + ", ".join(f"sum({name})::bigint" for name in names)
                + ", sum(revenue_amt), sum(session_s * closed_session_n) / nullif(sum(closed_session_n), 0),"
                + " starts + to_days(case $period when 'day' then 1 when 'week' then 7 else 31 end) <= $horizon"
                + " from marts.traffic_daily group by grouping sets ((source, starts, is_bot), (starts, is_bot))",
                {"period": period, "again": again, "horizon": HORIZON},
            )
        checkout = [
            ("Product Viewed", 1, 0),
            ("Product Added", 0.34, 240),
            ("Checkout Started", 0.55, 900),
            ("Order Completed", 0.62, 5400),
        ]
        signup = [("/pricing", 1, 0), ("/signup", 0.21, 60), ("Account Created", 0.58, 150)]
        for name, window, steps in (("checkout", 14, checkout), ("signup", 7, signup)):
            rows, attempts = funnel(chance, first, last, name, window, steps)
            put(connection, "marts.funnel_steps", rows)
            put(connection, "marts.funnel_attempts", attempts)
        edges, paths = journeys(chance, first, last)
        put(connection, "marts.journey_edges", edges)
        put(connection, "marts.journey_paths", paths)
        put(connection, "marts.retention_cells", retention(chance, first, last))
        put(connection, "meta.build_info", [{
            "built_at": HORIZON + timedelta(minutes=2), "version": "0.1.0", "definitions_hash": "9f2c" * 16,
            "landed_to": HORIZON - timedelta(seconds=4), "horizon": HORIZON, "build_id": "0193f5a27b1c", "site_name": site,
            "timezone": "Europe/Amsterdam", "currency": "EUR",
        }])  # fmt: skip
        put(connection, "meta.quality", [
            {"check_name": name, "value": float(value), "expected": None if expected is None else float(expected), "is_ok": is_ok}
            for name, value, expected, is_ok in (
                ("landed_new_n", 1284112, None, None), ("landed_duplicate_n", 3911, None, None),
                ("rejected_n", 42, None, None), ("unidentified_n", 817, None, None),
                ("read_equals_new_duplicate_rejected", 1288065, 1288065, True),
                ("sessions_in_totals_equal_sessions", 214388, 214388, True),
                ("orders_without_amount_n", 3, 0, False),
            )
        ])  # fmt: skip
        put(connection, "meta.restatements", [
            {"table_name": "marts.traffic_daily", "key": f"web, 2026-11-{11 + n}, Direct", "column_name": "session_n",
             "was": 181.0 + n, "now": 184.0 + n, "why": "late events", "restated_at": HORIZON - timedelta(hours=n)}
            for n in range(4)
        ])  # fmt: skip
        put(connection, "meta.data_dictionary", [
            {"schema_name": "marts", "table_name": "traffic_daily", "column_name": "session_n", "data_type": "BIGINT",
             "description": "sessions that start on the date, open ones too"},
        ])  # fmt: skip
    return path


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four months of a shop with hostile paths in its journeys; do not write to it."""
    return write_sample(tmp_path_factory.mktemp("sample") / "bi.duckdb")


@pytest.fixture
def sample_of(tmp_path: Path) -> Callable[..., Path]:
    """A sample of its own, to be changed or of another length."""
    return lambda **how: write_sample(tmp_path / "bi.duckdb", **how)


@pytest.fixture
def connected(sample: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(sample), read_only=True) as connection:
        yield connection
