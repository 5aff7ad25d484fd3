"""Scripted visits: events written down one by one, landed and built, for numbers that can be checked by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.transforms.histories import warehouse_in_memory
from transforms.definitions import Definitions
from transforms.flow import build
from warehouse import SQL, Warehouse

NOON = datetime(2026, 5, 4, 12)
KEY = b"k" * 32
WINDOW = {"viewport_w": 1000, "viewport_h": 800, "document_h": 4000}
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36"


def said(name: str, at_s: float, properties: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """An event of device d, `at_s` seconds after noon, on / in a window of 1000 by 800; `other` overrides columns.

    `window` overrides what the context says of sizes and library.
    """
    window = WINDOW | other.pop("window", {})
    return {
        "source": "web",
        "protocol": "segment",
        "ingest": "import",
        "type": "page" if name == "page" else "track",
        "name": name,
        "anonymous_id": "d",
        "id_kind": "local",
        "occurred_at": NOON + timedelta(seconds=at_s),
        "received_at": NOON + timedelta(days=1),
        "url": "https://shop.example/",
        "properties": json.dumps(properties or {}),
        "context": json.dumps({"ua": BROWSER, **window}),
    } | other


def built(
    *events: dict[str, Any],
    definitions: Definitions | None = None,
    at: datetime = NOON + timedelta(days=2),
    into: Warehouse | None = None,
    rules_folder: Path = SQL / "0_rules",
) -> Warehouse:
    """A warehouse in which the events have landed by `at`, and all models are built."""
    warehouse = into or warehouse_in_memory()
    last = warehouse.value("select coalesce(max(last_event_no), 0) from raw.landings")
    landing_id = warehouse.value("select coalesce(max(landing_id), 0) + 1 from raw.landings")
    for number, event in enumerate(events, last + 1):
        row = {
            "event_no": number,
            "landing_id": landing_id,
            "topic": "log",
            "part": "segment",
            "record_offset": landing_id,
            "index_in_record": number,
            "id_hash": number,
            "event_id": f"e{number:05}",
        } | event
        names = ", ".join(row)
        warehouse.execute(f"insert into raw.events ({names}) values ({', '.join('$' + name for name in row)})", row)
    n = len(events)
    warehouse.execute(
        "insert into raw.landings values ($id, $at, $n, $n, 0, 0, 0, $first, $last)",
        {"id": landing_id, "at": at, "n": n, "first": last + 1, "last": last + n},
    )
    warehouse.execute("delete from raw.clock")
    warehouse.execute("insert into raw.clock values ($at)", {"at": at})
    build(warehouse, definitions or Definitions(), key=KEY, now=at, rules_folder=rules_folder)
    return warehouse
