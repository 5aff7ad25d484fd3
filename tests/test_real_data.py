"""Real traffic that nobody here wrote: what is known of it must come out."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ingest.from_log import FromLog
from ingest.imports import import_access_log, import_jsonl
from ingest.land import land
from ingest.log import Writer
from transforms.definitions import Definitions
from transforms.flow import build
from warehouse import Warehouse, open_warehouse

KEY = b"k" * 32
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def brought(home: Path, bring: Callable[[Writer], object]) -> Warehouse:
    """A warehouse in which what `bring` writes to the log has landed and been built."""
    writer = Writer(home / "log", clock=lambda: NOW)
    bring(writer)
    writer.close()
    warehouse = open_warehouse(home / "warehouse.duckdb")
    land(warehouse, FromLog(home / "log"), clock=lambda: NOW)
    build(warehouse, Definitions(), key=KEY, now=NOW.replace(tzinfo=None))
    return warehouse


def test_the_shop_has_its_own_3605_sessions(tmp_path: Path, testdata: Path) -> None:
    lines = tmp_path / "ecom.jsonl"
    with gzip.open(testdata / "ecom.csv.gz", "rt") as source, lines.open("w") as target:
        for row in csv.DictReader(source):
            event = {
                "type": "track",
                "event": row["event"],
                "anonymousId": row["user_id"],
                "timestamp": row["timestamp"].replace(" ", "T") + "Z",
                "properties": {"session_id": row["session_id"], "platform": row["platform"]},
            }
            target.write(json.dumps(event) + "\n")
    warehouse = brought(tmp_path, lambda writer: import_jsonl(lines, writer, source="shop", clock=lambda: NOW))
    assert warehouse.value("select count(*) from core.events") == 31_106
    assert warehouse.value("select count(*) from core.sessions") == 3_605
    # Each holds the events of one session of the data, and all of them.
    assert (
        warehouse.value(
            """
            select count(*) from (
                select p.session_no
                from core.placements as p
                inner join core.events as e on p.event_no = e.event_no
                group by p.session_no
                having count(distinct json_extract_string(e.properties, '$.session_id')) <> 1
            )
            """
        )
        == 0
    )
    warehouse.close()


def test_the_access_log_is_page_views_of_people_and_programs(tmp_path: Path, testdata: Path) -> None:
    log = testdata / "apache_logs.log"
    counted = {}
    warehouse = brought(
        tmp_path,
        lambda writer: counted.update(
            one=import_access_log(log, writer, source="web", key=KEY, host="semicomplete.com", clock=lambda: NOW)
        ),
    )
    done = counted["one"]
    assert done.stored_n + done.rejected_n + done.declined_n == 10_000
    assert warehouse.execute("select reason, count(*) from raw.rejected group by reason") == [("undecodable", 1)]
    assert warehouse.value("select count(*) from core.events where not is_page") == 0
    kinds = dict(warehouse.execute("select is_bot, count(*) from core.events group by is_bot"))
    assert sum(kinds.values()) == done.stored_n
    assert kinds[True] > 1000
    assert kinds[False] > 1000
    names = {row[0] for row in warehouse.execute("select distinct bot_rule from core.events where is_bot")}
    assert any("Googlebot" in name for name in names)
    assert warehouse.value("select count(*) from core.sessions where channel = 'Organic Search' and not is_bot") > 100
    days = [str(row[0]) for row in warehouse.execute("select distinct date from marts.traffic_daily order by 1")]
    assert days == ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]
    warehouse.close()
