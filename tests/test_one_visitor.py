"""One visitor, from the bytes of her browser to a number in the report."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = """
[site]
name = "shop"
timezone = "Europe/Amsterdam"
[[source]]
name = "web"
write_key = "pk"
origins = ["https://shop.example"]
[[funnel]]
name = "checkout"
window = "1h"
steps = [{ event = "Product Viewed" }, { event = "Order Completed" }]
[[journey]]
name = "from-home"
start = { page = "/" }
"""
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1"
)
# Three days ago, so that all windows are over; her clock is an hour fast and her events waited on the phone.
BEGAN = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) - timedelta(days=3)
FAST = timedelta(hours=1)


def footfall(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "footfall.py", *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    footfall("init", "--home", folder)
    (folder / "footfall.toml").write_text(SETTINGS)
    return folder


@pytest.fixture
def collector(home: Path) -> Iterator[http.client.HTTPConnection]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, ROOT / "footfall.py", "collect", "--home", home, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(300):
        try:
            connection.request("GET", "/ready")
            connection.getresponse().read()
            break
        except OSError:
            connection.close()
            time.sleep(0.05)
    yield connection
    connection.close()
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


def event(number: int, seconds: int, kind: str, **more: Any) -> dict[str, Any]:
    at = BEGAN + FAST + timedelta(seconds=seconds)
    return {
        "type": kind,
        "messageId": f"anna-{number}",
        "anonymousId": "anna-phone",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    } | more


def page(path: str, referrer: str = "") -> dict[str, Any]:
    return {"url": f"https://shop.example{path}", "path": path, "referrer": referrer, "title": path}


VISIT = [
    event(1, 0, "page", properties=page("/?q=1", "https://www.google.com/")),
    event(2, 20, "page", properties=page("/product/12")),
    event(3, 21, "track", event="Product Viewed", properties={"product_id": "12"}),
    event(4, 90, "identify", userId="anna@shop", traits={"plan": "gold"}),
    event(5, 100, "page", properties=page("/cart"), userId="anna@shop"),
    event(
        6,
        120,
        "track",
        event="Order Completed",
        userId="anna@shop",
        properties={"order_id": "o-1", "revenue": 49.5, "currency": "EUR"},
    ),
    event(7, 130, "track", event="Seen", timestamp="yesterday"),
]


def test_one_visitor(home: Path, collector: http.client.HTTPConnection) -> None:
    sent_at = (datetime.now(UTC) + FAST).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"batch": VISIT, "sentAt": sent_at, "writeKey": "pk"})
    headers = {"Content-Type": "text/plain", "User-Agent": PHONE, "Origin": "https://shop.example"}
    for _ in range(2):  # the phone did not hear the first answer
        collector.request("POST", "/v1/batch", body, headers)
        answer = collector.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert [(one["index"], one["reason"]) for one in said["rejected"]] == [(6, "bad_time")]

    assert "14 events: 6 new, 6 repeated, 2 rejected" in footfall("land", "--home", home)
    footfall("build", "--home", home)
    footfall("publish", "--home", home)
    footfall("report", "--home", home)

    day = (BEGAN + timedelta(hours=1)).date()  # ten in the morning UTC is the same day in Amsterdam
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as bi:
        (visit,) = bi.execute(
            "select date, page_view_n, round(duration_s), entry_path, exit_path, channel, traffic_source, device, os, "
            "is_bounce, is_engaged, is_converted, is_open from core.sessions"
        ).fetchall()
        assert visit[:6] == (day, 3, 120.0, "/", "/cart", "Organic Search")
        assert visit[6:9] == ("google", "mobile", "iOS")
        assert visit[9:] == (False, True, True, False)
        # The clock was set right: by the latency of the request at most.
        (began,) = bi.execute("select min(event_at) from core.events").fetchall()[0]
        assert abs(began - BEGAN.replace(tzinfo=None)) < timedelta(seconds=30)
        # What she did before she said who she is is hers too.
        assert bi.execute("select count(distinct person_id), count(*) from core.events").fetchall() == [(1, 6)]
        assert bi.execute("select is_known, order_n, revenue_amt from core.persons").fetchall()[0][:2] == (True, 1)
        assert bi.execute(
            "select visitor_n, new_visitor_n, session_n, page_view_n, order_n, revenue_amt::double, conversion_pct "
            f"from marts.traffic_totals where period = 'day' and period_start = '{day}' and source = 'web'"
        ).fetchall() == [(1, 1, 1, 3, 1, 49.5, 1.0)]
        assert bi.execute(
            f"select step_no, reached_n from marts.funnel_steps where period_start = '{day}' order by step_no"
        ).fetchall() == [(1, 1), (2, 1)]
        assert bi.execute("select path, unit_n, conversion_n from marts.journey_paths").fetchall() == [
            ("/ > /product/:id > /cart", 1, 1)
        ]
        assert bi.execute("select check_name from meta.quality where not is_ok").fetchall() == []
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as warehouse:
        kept = warehouse.execute("select reason, decode(bytes) from raw.rejected").fetchall()
    assert [reason for reason, _ in kept] == ["bad_time", "bad_time"]
    assert all(json.loads(text)["messageId"] == "anna-7" for _, text in kept)

    html = (home / "report.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data
    assert "49.5" in data[1]
