"""Both engaged times of a session: what the page reports, and what heartbeats tell; never one for the other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.transforms.visits import NOON, built, said
from warehouse import SQL, Warehouse


def times(warehouse: Warehouse) -> dict[str, tuple[Any, Any]]:
    """Of each device the engaged milliseconds and the heartbeat seconds of its session."""
    rows = warehouse.execute(
        "select d.anonymous_id, s.engaged_visible_ms, s.engaged_ping_s "
        "from core.sessions as s inner join core.devices as d on s.device_id = d.device_id"
    )
    return {row[0]: row[1:] for row in rows}


def test_engaged_times_of_sessions() -> None:
    def engaged(device: str, at_s: float, ms: Any, **other: Any) -> dict[str, Any]:
        return said("Engaged", at_s, {"engaged_ms": ms}, anonymous_id=device, **other)

    def ping(device: str, at_s: float) -> dict[str, Any]:
        return said("Engaged", at_s, {"ping": True}, anonymous_id=device)

    devices = ("summed", "clipped", "impossible", "silent", "pinged")
    warehouse = built(
        *(said("page", 0, anonymous_id=device) for device in devices),
        engaged("summed", 10, 4000),
        engaged("summed", 20, 0.5),
        # 5 s since the page, none since the report of the same moment, 3 s since that
        engaged("clipped", 5, 60_000),
        engaged("clipped", 5, 1000),
        engaged("clipped", 8, 3000),
        *(engaged("impossible", 30, ms) for ms in (-4000, "NaN", "Infinity", "long", None)),
        # each page view has its own clock: 10 s on one, 10 s on the other
        engaged("tabs", 10, 10_000, page_view_id="a"),
        said("page", 0, anonymous_id="tabs", page_view_id="a"),
        said("page", 0, anonymous_id="tabs", page_view_id="b"),
        engaged("tabs", 10, 10_000, page_view_id="b"),
        # noon is a multiple of 10 s: pings of 3 tenths on one page view, of 1 on the next; 10·2+5 + 10·0+5
        *(ping("pinged", at_s) for at_s in (10, 19.9, 20, 41)),
        said("page", 60, anonymous_id="pinged", url="/next"),
        ping("pinged", 65),
    )
    assert times(warehouse) == {
        "summed": (4000.5, None),
        "clipped": (8000, None),
        "impossible": (None, None),
        "silent": (None, None),
        "tabs": (20_000, None),
        "pinged": (None, 30),
    }
    invalid = "select sum(invalid_n), sum(clipped_n) from marts.scroll_pages"
    # of the five impossible ones a text that is no number and null are no reports at all
    assert warehouse.execute(invalid) == [(3, 2)]


def test_a_tracker_that_pings_and_did_not_tells_of_nobody_there(tmp_path: Path) -> None:
    folder = shutil.copytree(SQL / "0_rules", tmp_path / "rules")
    with (folder / "signals.csv").open("a") as signals:
        signals.write("pinger,ping\n")
    warehouse = built(
        said("page", 0, window={"library": {"name": "pinger"}}),
        said("page", 0, anonymous_id="other"),
        rules_folder=folder,
        at=NOON.replace(day=9),
    )
    assert times(warehouse) == {"d": (None, 0), "other": (None, None)}
