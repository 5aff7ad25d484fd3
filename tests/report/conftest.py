"""A published file as publish writes it, with a shop's traffic in it and some hostile names."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from math import exp, sin
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from warehouse import tables

HORIZON = datetime(2026, 11, 21, 14, 30)
NOW = datetime(2026, 11, 21, 15, 0)
HOSTILE = '/<img src=x onerror="window.owned=1">/</script><script>window.owned=1</script><!--'

PUBLISHED = """marts.traffic_daily marts.traffic_totals marts.funnel_steps marts.funnel_attempts
    marts.journey_edges marts.journey_paths marts.retention_cells marts.heatmap_cells marts.heatmap_elements
    marts.heatmap_element_cells
    marts.scroll_reach marts.scroll_pages marts.friction_pages marts.page_outlines marts.attribution
    marts.attribution_paths meta.build_info meta.quality
    meta.restatements meta.data_dictionary core.visitor_days
    core.events core.sessions marts.lifecycle marts.bots_daily meta.bot_changes meta.definitions"""


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """The tables as sql/ declares them; a sample need not fill every column."""
    connection.execute("create schema marts; create schema meta; create schema core")
    for name in PUBLISHED.split():
        connection.execute(tables()[name].create.replace(" not null", ""))
    connection.execute("alter table core.events add column session_id varchar")


CHANNELS = {
    "Organic Search": (30, 0.034),
    "Direct": (22, 0.042),
    "Paid Search": (17, 0.051),
    "Organic Social": (9, 0.012),
    "Email": (7, 0.067),
    "Referral": (6, 0.024),
    "Paid Social": (5, 0.016),
    "AI Assistant": (3, 0.048),
    "Display": (2, 0.006),
    None: (1, 0.0),
}
DEVICES = {"mobile": 0.58, "desktop": 0.36, "tablet": 0.06}
COUNTRIES = {"NL": 0.5, "DE": 0.22, "BE": 0.14, "FR": 0.09, "(none)": 0.05}
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


def put(connection: duckdb.DuckDBPyConnection, table: str, columns: str, rows: list[Any]) -> None:
    frame = pl.DataFrame(rows, schema=columns.split(), orient="row", infer_schema_length=None)
    names = ", ".join(frame.columns)
    connection.execute(f"insert into {table} ({names}) select {names} from frame")


DAILY = """source date channel device country is_bot visitor_n new_visitor_n session_n closed_session_n
    page_session_n engaged_session_n converted_session_n bounce_n page_view_n order_n revenue_amt session_s
    is_complete"""


def traffic(chance: random.Random, first: date, last: date) -> list[Any]:
    rows: list[Any] = []
    cells = [
        (channel, conversion, device, country, weight * has * lives)
        for channel, (weight, conversion) in CHANNELS.items()
        for device, has in DEVICES.items()
        for country, lives in COUNTRIES.items()
    ]
    for n in range((last - first).days + 1):
        on = first + timedelta(days=n)
        season = (1 + 0.0025 * n) * (0.78 if on.weekday() >= 5 else 1.0) * (1 + 0.12 * sin(n / 11))
        is_over = on < last
        for source, size in (("web", 9.0), ("app", 2.5)):
            for channel, conversion, device, country, weight in cells:
                mean = weight * size * season * (1.0 if is_over else 0.6)
                sessions = max(0, round(chance.gauss(mean, mean**0.5)))
                if not sessions:
                    continue
                closed = sessions if is_over else sessions * 9 // 10
                engaged = round(closed * min(1.0, max(0.0, chance.gauss(0.57, 0.05))))
                bounced = max(0, min(closed - engaged, round(closed * chance.gauss(0.36, 0.04))))
                orders = sum(chance.random() < conversion for _ in range(closed))
                visitors, views = max(1, round(sessions * 0.91)), round(sessions * chance.gauss(4.1, 0.3))
                money, seconds = orders * chance.gauss(74, 9), chance.gauss(212, 22)
                who = (source, on, channel, device, country, False, visitors, round(sessions * 0.42))
                what = (sessions, closed, closed, engaged, orders, bounced, views, orders, money, seconds)
                rows.append((*who, *what, is_over))
            who = (source, on, "Direct", "desktop", "US", True, 20, 12)
            rows.append((*who, 90, 90, 90, 0, 0, 60, 400, 0, 0.0, 2.0, is_over))
    return rows


STEPS = """funnel period_start breakdown_value step_no period step_name reached_n reached_n_to_date open_n
    excluded_n is_complete"""
ATTEMPTS = """funnel person_id period_start entered_at depth step_at breakdown_value is_open is_excluded
    source channel device next_node"""


def funnel(chance: random.Random, first: date, last: date, name: str, window: int, steps: list[Any]) -> Any:
    rows: list[Any] = []
    attempts: list[Any] = []
    for n in range((last - first).days + 1):
        on = first + timedelta(days=n)
        entered = round(chance.gauss(260, 24) * (1 + 0.002 * n))
        is_complete = on + timedelta(days=1 + window) <= HORIZON.date()
        reached = [0] * len(steps)
        for _ in range(entered):
            times = [datetime(on.year, on.month, on.day) + timedelta(seconds=chance.randrange(86400))]
            for _, goes_on, wait in steps[1:]:
                if chance.random() > goes_on + 0.0004 * n:
                    break
                times.append(times[-1] + timedelta(seconds=wait * exp(chance.gauss(0, 1.1))))
            for step in range(len(times)):
                reached[step] += 1
            is_open = not is_complete and len(times) < len(steps)
            person = chance.getrandbits(62)
            whose = ("web", ("Direct", "Email", "Referral")[person % 3], ("mobile", "desktop")[person % 2])
            after = None if len(times) == len(steps) else (HOSTILE, "(exit)", "/cart", "(exit)")[person // 7 % 4]
            attempts.append((name, person, on, times[0], len(times), times, "(all)", is_open, False, *whose, after))
        for step, so_far in enumerate(reached):
            known, open_n = (so_far, 0) if is_complete else (None, entered - reached[-1])
            step_name = steps[step][0]
            rows.append((name, on, "(all)", step + 1, "day", step_name, known, so_far, open_n, 0, is_complete))
    return rows, attempts


def journeys(chance: random.Random, first: date, last: date) -> Any:
    edges: dict[Any, int] = {}
    paths: dict[Any, list[int]] = {}
    for n in range((last - first).days + 1):
        on = first + timedelta(days=n)
        for _ in range(round(chance.gauss(220, 20))):
            node, walked = "/", ["/"]
            while True:
                to = chance.choices(list(PAGES[node]), list(PAGES[node].values()))[0]
                if to != "(exit)" and len(walked) == 5:
                    to = "(more)"
                key = (on, len(walked), node, to)
                edges[key] = edges.get(key, 0) + 1
                if to in ("(exit)", "(more)"):
                    break
                walked.append(to)
                node = to
            found = paths.setdefault((on, " > ".join(walked)), [0, 0])
            found[0] += 1
            found[1] += "/checkout" in walked and chance.random() < 0.6
    return (
        [
            ("from-home", *key, n, None if key[3] in ("(exit)", "(more)") else chance.uniform(8, 90))
            for key, n in edges.items()
        ],
        [("from-home", *key, *counts) for key, counts in paths.items()],
    )


CELLS = """retention cohort_start breakdown_value period_no from_no to_no period cohort_n retained_n
    retained_pct is_complete is_final is_censored value"""


def retention(chance: random.Random, first: date, last: date) -> list[Any]:
    rows: list[Any] = []
    monday = first - timedelta(days=first.weekday())
    for n in range((last - monday).days // 7 + 1):
        start = monday + timedelta(weeks=n)
        size = 0 if n == 6 else round(chance.gauss(180, 22))
        is_censored = start < first + timedelta(days=30)
        for k in range(9):
            is_over = start + timedelta(weeks=k + 1) <= HORIZON.date()
            came = sum(chance.random() < 0.05 + 0.24 * exp(-0.45 * k) for _ in range(size)) if k else size
            known, rate = (came, came / size if size else None) if is_over else (None, None)
            rows.append(
                (
                    "buyers",
                    start,
                    "(all)",
                    k,
                    k,
                    k,
                    "week",
                    size,
                    known,
                    rate,
                    is_over,
                    is_over,
                    is_censored,
                    known * 40.0 if is_over else None,
                )
            )
    return rows


LIFE = "period period_start state person_n is_complete"
SESSIONS = """session_id source date channel device is_bot is_open start_rule page_view_n duration_s is_engaged
    is_converted"""


def lifecycle(first: date, last: date) -> list[Any]:
    rows: list[Any] = []
    for period in ("day", "week", "month"):
        starts = {
            on - timedelta(days=on.weekday() if period == "week" else on.day - 1 if period == "month" else 0)
            for on in (first + timedelta(days=n) for n in range((last - first).days + 1))
        }
        for start in sorted(starts):
            is_over = start + timedelta(days={"day": 1, "week": 7, "month": 31}[period]) <= HORIZON.date()
            for at, state in enumerate(("new", "returning", "resurrecting", "dormant")):
                size = (40 - 9 * at) * {"day": 1, "week": 5, "month": 17}[period] + start.day
                rows.append((period, start, state, size if is_over or at < 3 else None, is_over))
    return rows


def sessions(last: date) -> list[Any]:
    """Sessions of the last 30 dates; three of four cut by silence."""
    rules = ("gap", "gap", "gap", "campaign", "gap", "gap", "gap", "midnight")
    devices = list(DEVICES)
    return [
        (f"s{n}", "web" if n % 5 else "app", last - timedelta(days=n % 30), ("Direct", "Email", None)[n % 3],
         devices[n % 2], n % 97 == 0, n % 30 == 0, rules[n % 8], 1 + n % 6, 20.0 * (n % 9), n % 3 > 0, n % 11 == 0)
        for n in range(2400)
    ]  # fmt: skip


EVENTS = "event_id event_at date session_id is_page is_bot path"
ROUND = ("/", "/sale", "/sale", "/product/:id", "/cart", HOSTILE, "/checkout", "/")


def page_events(rows: list[Any]) -> list[Any]:
    """One to nine pages for each session, along a round that each begins elsewhere."""
    return [
        (f"{name}-{at}", datetime(on.year, on.month, on.day, 9, at), on, name, True, is_bot, ROUND[(n * 5 + at) % 8])
        for n, (name, _, on, _, _, is_bot, *_) in enumerate(rows)
        for at in range(1 + n % 9)
    ]


BOTS = "source date bot_kind bot_rule visitor_n session_n page_view_n event_n is_complete"


def bots(first: date, last: date) -> list[Any]:
    kinds = (("crawler", "pattern: Googlebot"), ("ai_agent", "pattern: GPTBot"), ("script", "max_eps"))
    return [
        ("web", first + timedelta(days=n), kind, rule, 2, 2, 7 + at, 12, first + timedelta(days=n) < last)
        for n in range((last - first).days + 1)
        for at, (kind, rule) in enumerate(kinds)
        if at < 2 or n % 30 == 3
    ]


WINDOWS = {"mobile": (390, 780, 0.58), "tablet": (820, 1080, 0.07), "desktop": (1280, 860, 0.35)}
SHOWN = {"/": (900, 9), "/category/shoes": (700, 14), "/product/:id": (1100, 6), "/cart": (300, 3),
         "/checkout": (200, 4), "/blog/:id": (150, 22), HOSTILE: (40, 2)}  # fmt: skip
CELL_NAMES = "source path date viewport_band layer kind x_bin y_bin event_n raw_n session_n"
REACH_NAMES = "source path date viewport_band depth_band view_n reached_n attention_ms visible_ms"
DEPTH_NAMES = "source path date viewport_band view_n known_n depth_p25 depth_p50 depth_p75 depth_p90 is_complete"
INSIDE_NAMES = "source path date selector el_x_bin el_y_bin event_n raw_n"
ELEMENT_NAMES = "source path date selector text click_n rage_n dead_n"
FRICTION_NAMES = "source path date view_n rage_n dead_n quick_back_n excessive_scroll_n error_n"


def outline(path: str, width: int, rows: int) -> list[tuple[str, int, int, int, int, float]]:
    """Boxes of `rows` rows of cards: selector, x, y, w, h and how often it is clicked; the header is fixed."""
    edge = 16 if width < 768 else 24 if width < 1024 else 80
    columns = 2 if width < 768 else 3 if width < 1024 else 4
    inner = width - 2 * edge
    nav = [(f"body > header > nav > a.link-{n}", edge + 110 + n * 74, 18, 62, 28, 5.0 - n) for n in range(3)]
    wide = (inner - 16 * (columns - 1)) // columns
    cards = [
        (f"main > ul.cards > li:nth-of-type({n + 1}) > a.card", edge + n % columns * (wide + 16),
         490 + n // columns * 316, wide, 300, 26.0 / (n + 2))
        for n in range(columns * rows)
    ]  # fmt: skip
    end = 490 + rows * 316 + 24
    return [
        ("body > header", 0, 0, width, 64, 0.3),
        ("body > header > a.logo", edge, 14, 92, 36, 3.0),
        *nav,
        ("body > header > button#basket", width - edge - 44, 12, 44, 40, 6.0),
        ("main > section.hero", edge, 88, inner, 320, 2.5),
        ("main > section.hero > h1", edge + 24, 130, inner * 2 // 3, 70, 0.6),
        ("main > section.hero > a.buy" + (HOSTILE if path == HOSTILE else ""), edge + 24, 320, 168, 48, 14.0),
        ("main > h2", edge, 436, inner // 2, 34, 0.4),
        *cards,
        ("main > form.newsletter", edge, end, inner, 140, 0.4),
        ("main > form.newsletter > button", edge + inner // 2, end + 70, 130, 40, 1.2),
        ("body > footer", 0, end + 190, width, 260, 0.8),
    ]


def behaviour(chance: random.Random, first: date, last: date) -> dict[str, list[Any]]:
    """Rows of the five tables about what people do on pages, by table."""
    clicked: dict[Any, int] = {}
    touched: dict[Any, list[int]] = {}
    reach: list[Any] = []
    friction: list[Any] = []
    inside: dict[Any, int] = {}
    depths: list[Any] = []
    outlines: list[Any] = []
    days = (last - first).days + 1
    for path, (views, rows) in SHOWN.items():
        for band, (width, height, share) in WINDOWS.items():
            boxes = outline(path, width, rows)
            long = max(y + h for _, _, y, _, h, _ in boxes)
            outlines.append((path, band, width, height, long, boxes))
            for _ in range(round(views * share * 2.2 * min(1.0, days / 60))):
                on = first + timedelta(days=chance.randrange(days))
                selector, x, y, w, h, _ = chance.choices(boxes, [b[5] / (1 + b[2] / 1400) for b in boxes])[0]
                el_x, el_y = (min(max(chance.gauss(0.5, 0.17), 0), 1) for _ in "xy")
                px, py = el_x * w, el_y * h
                tenth = ("web", path, on, selector, min(9, int(10 * el_x)), min(9, int(10 * el_y)))
                inside[tenth] = inside.get(tenth, 0) + 1
                place = (min(99, int(100 * (x + px) / width)), int(y + py) // 16)
                kinds = ["click"] + ["rage"] * (chance.random() < 0.03) + ["dead"] * ("hero" in selector)
                for kind in kinds:
                    key = ("web", path, on, band, "page", kind, *place)
                    clicked[key] = clicked.get(key, 0) + 1
                    counts = touched.setdefault(("web", path, on, selector), [0, 0, 0])
                    counts[("click", "rage", "dead").index(kind)] += 1
            if band == "mobile":
                for n in range(round(views * 0.2)):
                    on = first + timedelta(days=n % days)
                    key = ("web", path, on, band, "fixed", "click", int(chance.gauss(82, 4)), int(chance.gauss(45, 1)))
                    clicked[key] = clicked.get(key, 0) + 1
            for n in range(days):
                seen = max(1, round(views * share / days * chance.gauss(2, 0.3)))
                fold = height / long
                middle = min(0.9, fold + 0.2 + 0.1 * sin(n))
                quartiles = (min(middle, fold), middle, min(1.0, middle + 0.2), 1.0)
                over = first + timedelta(days=n) < last
                depths.append(("web", path, first + timedelta(days=n), band, seen, seen, *quartiles, over))
                for depth in range(20):
                    gone = max(0.0, depth / 20 - fold)
                    reached = seen if not gone else min(seen, round(seen * exp(-1.7 * gone)))
                    ms = round(reached * 1500 * (1.2 + sin(depth / 2.1)) * exp(-depth / 14))
                    on = first + timedelta(days=n)
                    reach.append(("web", path, on, band, depth, seen, reached, ms, ms * 3))
        for n in range(days):
            seen = max(1, round(views / days * chance.gauss(2, 0.3)))
            odd = [sum(chance.random() < part for _ in range(seen)) for part in (0.02, 0.05, 0.03, 0.01)]
            error = None if path == "/cart" else int(chance.random() < 0.1)
            friction.append(("web", path, first + timedelta(days=n), seen, *odd, error))
    for n in range(days):
        friction.append(("app", "/start", first + timedelta(days=n), 40, None, None, 1, None, None))
    return {
        "cells": [(*key, n, n, n) for key, n in clicked.items()],
        "inside": [(*key, n, n) for key, n in inside.items()],
        "depths": depths,
        "elements": [(*key, key[-1].rsplit(".")[-1].title(), *counts) for key, counts in touched.items()],
        "reach": reach,
        "friction": friction,
        "outlines": outlines,
    }


FUNNELS = {
    "checkout": (14, [("Product Viewed", 1, 0), ("Product Added", 0.34, 240), ("Checkout Started", 0.55, 900),
                      ("Order Completed", 0.62, 5400)]),
    "signup": (7, [("/pricing", 1, 0), ("/signup", 0.21, 60), ("Account Created", 0.58, 150)]),
}  # fmt: skip
CHECKS = [
    ("events read", 1288065, 1288065, True),
    ("events stored", 1284112, 1284112, True),
    ("sessions in the daily numbers", 214388, 214388, True),
    ("events missing in gaps", 3, 0, False),
    ("repeats left out", 3911, None, None),
    ("events rejected", 42, None, None),
    ("events that name nobody", 817, None, None),
]


def put_behaviour(connection: duckdb.DuckDBPyConnection, found: dict[str, list[Any]]) -> None:
    put(connection, "marts.heatmap_cells", CELL_NAMES, found["cells"])
    put(connection, "marts.heatmap_elements", ELEMENT_NAMES, found["elements"])
    put(connection, "marts.heatmap_element_cells", INSIDE_NAMES, found["inside"])
    put(connection, "marts.scroll_pages", DEPTH_NAMES, found["depths"])
    put(connection, "marts.scroll_reach", REACH_NAMES, found["reach"])
    put(connection, "marts.friction_pages", FRICTION_NAMES, found["friction"])
    for path, band, width, height, long, boxes in found["outlines"]:
        put(
            connection,
            "marts.page_outlines",
            "source path viewport_band boxes viewport_w viewport_h document_h",
            [("web", path, band,
              json.dumps([dict(zip(("selector", *"xywh"), box, strict=False)) | {"is_fixed": "body > header" in box[0]}
                          for box in boxes]),
              width, height, long)],
        )  # fmt: skip


def write_sample(path: Path, *, days: int = 120, seed: int = 7, site: str = "Fern & Field") -> Path:
    """A published file of a small shop that ends at HORIZON, of `days` dates, the last of them not over."""
    chance = random.Random(seed)
    last = HORIZON.date()
    first = last - timedelta(days=days - 1)
    with duckdb.connect(str(path)) as connection:
        create(connection)
        put(connection, "marts.traffic_daily", DAILY, traffic(chance, first, last))
        connection.execute(
            "insert into core.visitor_days (date, source, channel, device, country, is_bot, person_id, is_new)"
            " select date, source, coalesce(channel, '(none)'), device, country, is_bot,"
            "   (n * 31 + length(channel || device) * 7) % 900, false"
            " from marts.traffic_daily, unnest(range(visitor_n)) as people(n)"
        )
        names = DAILY.split()[7:16]
        for period, length, again in (("day", 1, 0.97), ("week", 7, 0.8), ("month", 31, 0.66)):
            connection.execute(
                "insert into marts.traffic_totals"
                f" (source, period, period_start, is_bot, {', '.join(names)}, visitor_n, revenue_amt,"
                " session_s, is_complete) select"
                " coalesce(source, '(all)'), $period, date_trunc($period, date)::date as start, is_bot, "
                + ", ".join(f"sum({name})::bigint" for name in names)
                + ", (sum(visitor_n) * $again)::bigint, sum(revenue_amt),"
                " sum(session_s * closed_session_n) / nullif(sum(closed_session_n), 0),"
                " start + to_days($length) <= $horizon"
                " from marts.traffic_daily"
                " group by grouping sets ((source, start, is_bot), (start, is_bot))",
                {"period": period, "length": length, "again": again, "horizon": HORIZON},
            )
        for name, (window, steps) in FUNNELS.items():
            rows, attempts = funnel(chance, first, last, name, window, steps)
            put(connection, "marts.funnel_steps", STEPS, rows)
            put(connection, "marts.funnel_attempts", ATTEMPTS, attempts)
        edges, paths = journeys(chance, first, last)
        put(connection, "marts.journey_edges", "journey date step_no from_node to_node unit_n median_s", edges)
        put(connection, "marts.journey_paths", "journey date path unit_n conversion_n", paths)
        put(connection, "marts.lifecycle", LIFE, lifecycle(first, last))
        visits = sessions(last)
        put(connection, "core.sessions", SESSIONS, visits)
        put(connection, "core.events", EVENTS, page_events(visits))
        put(connection, "marts.bots_daily", BOTS, bots(first, last))
        put(
            connection,
            "meta.bot_changes",
            "build_id counted was_kind was_rule now_kind now_rule moved_n",
            [
                (41, "sessions", None, None, "script", "network: 10.0.0.0/8", 12),
                (41, "events", "script", "old", None, None, 5),
            ],
        )
        put(connection, "marts.retention_cells", CELLS, retention(chance, first, last))
        credits = "model month channel conversion_n revenue_amt spend_amt roas unconverted_n is_complete"
        months = ((date(2026, 10, 1), True), (date(2026, 11, 1), False))
        put(
            connection,
            "marts.attribution",
            credits,
            [
                (model, on, channel, n + at / 4, 80.0 * n, 100.0, 0.8 * n if is_over else None, 0, is_over)
                for at, model in enumerate(("first", "last", "last_non_direct", "linear"))
                for on, is_over in months
                for n, channel in ((40, "Organic Search"), (12, HOSTILE))
            ],
        )
        put(
            connection,
            "marts.attribution_paths",
            "month outcome path path_n is_complete",
            [(on, "converted", f"Organic Search > {HOSTILE}", 7, is_over) for on, is_over in months],
        )
        put_behaviour(connection, behaviour(chance, first, last))
        build = (41, HORIZON + timedelta(minutes=2), "0.1.0", "9f2c" * 16, 388, HORIZON)
        columns = "build_id built_at version definitions_hash landed_to horizon site_name timezone currency"
        put(connection, "meta.build_info", columns, [(*build, site, "Europe/Amsterdam", "EUR")])
        put(connection, "meta.quality", "check_name value expected is_ok", CHECKS)
        put(
            connection,
            "meta.definitions",
            "section name place pattern matched_n problem",
            [
                ("funnel", "checkout", "step 2", "Product Aded", 0, "no event matches"),
                ("retention", "visitors", "start", "*", 99, "every event matches"),
                ("site", "", "key_events", "Order Completed", 9, None),
            ],
        )
        put(
            connection,
            "meta.restatements",
            "table_name key column_name was now why restated_at",
            [
                ("marts.traffic_daily", f"2026-11-1{n}", "session_n", 181.0, 184.0, "late", HORIZON)
                for n in range(4)
            ],
        )  # fmt: skip
        connection.execute(
            "insert into meta.data_dictionary values ('marts', 'traffic_daily', 'session_n', 'BIGINT',"
            " 'sessions that start on the date, open ones too')"
        )
    return path


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten weeks of a shop with hostile paths in its journeys; do not write to it."""
    return write_sample(tmp_path_factory.mktemp("sample") / "bi.duckdb", days=70)


@pytest.fixture
def sample_of(tmp_path: Path) -> Callable[..., Path]:
    """A sample of its own, to be changed or of another length."""
    return lambda **how: write_sample(tmp_path / "bi.duckdb", **how)
