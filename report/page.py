"""The report as one file: template, styles, scripts and numbers, so that nothing else is needed."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from report import (
    attribution,
    bots,
    cube,
    funnels,
    journeys,
    lifecycle,
    pages,
    period,
    quality,
    retention,
    sessions,
    traffic,
    walks,
)
from report.heatmap import CELL_COLUMNS
from report.published import Published, ReportError, Row, open_published

__all__ = ["ReportError", "write"]

HERE = Path(__file__).parent
# sections that are cut by the ranges of dates, which the daily totals give
DATED = {
    "marts.traffic_daily",
    "marts.journey_edges",
    "marts.heatmap_cells",
    "core.sessions",
    "core.events",
    "marts.bots_daily",
}
SCRIPTS = (
    "format",
    "element",
    "chart",
    "filter",
    "overview",
    "channels",
    "funnels",
    "journeys",
    "walks",
    "heat",
    "heatmap",
    "reach",
    "friction",
    "pages",
    "retention",
    "lifecycle",
    "attribution",
    "sessions",
    "bots",
    "quality",
    "start",
)


def write(bi: Path, out: Path, *, now: datetime, limits: Mapping[str, tuple[int, int]] | None = None) -> None:
    """Write the report on the published file `bi` to `out`, whole or not at all.

    `now` (aware, or UTC) is only printed, as the moment of writing. `limits` holds, by name of a journey, how many
    edges its flow shows at most and how many units a node needs to be shown by name. Raises ReportError, one
    sentence, where `bi` is missing or unreadable or `out` cannot be written.
    """
    with open_published(bi) as published:
        page = render(content(published, now=now, limits=limits or {}))
    half = out.with_name(out.name + ".part")
    try:
        half.write_text(page, encoding="utf-8")
        half.replace(out)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise ReportError(
            f"{out} cannot be written ({error.strerror}): make room there, or choose another place"
        ) from error


def content(published: Published, *, now: datetime, limits: Mapping[str, tuple[int, int]]) -> Row:
    """All that the page shows. A section that its tables cannot fill is {"empty": why, in a sentence}."""
    build = quality.build_info(published)
    missing = published.lacks(
        "marts.traffic_totals", f"source period period_start is_bot is_complete {traffic.METRICS}"
    )
    dates = None if missing else period.read(published, build.get("horizon"), build.get("timezone") or "UTC")
    until = dates.until if dates else date.max
    no_traffic = missing or "No traffic is published yet: send a page view, then build and publish."

    combined = (
        cube.read(published, dates) if dates and not published.lacks("marts.traffic_daily", cube.COLUMNS) else None
    )

    def section(table: str, columns: str, wanted: str, read: Callable[[], Any]) -> Any:
        why = published.lacks(table, columns)
        if why:
            return {"empty": why}
        if table in DATED and not dates:
            return {"empty": no_traffic}
        return read() or {"empty": f"{table} has no rows yet: {wanted}."}

    return {
        "site": {
            "name": build.get("site_name") or "footfall",
            "timezone": build.get("timezone") or "UTC",
            "currency": build.get("currency") or "",
        },
        "build": {
            key: build.get(key)
            for key in ("built_at", "version", "definitions_hash", "landed_to", "horizon", "build_id")
        },
        "written_at": now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now,
        "period": dates
        and {
            "first": dates.first,
            "last": dates.last,
            "complete": dates.complete,
            "is_cut": dates.is_cut,
            "is_past": dates.is_past,
            "ranges": [vars(choice) for choice in dates.ranges],
        },
        "sources": traffic.sources(published) if dates else ["(all)"],
        "overview": traffic.overview(published, dates) if dates else {"empty": no_traffic},
        "channels": section(
            "marts.traffic_daily",
            f"source date channel device country is_bot revenue_amt {traffic.SUMS}",
            "send a page view, then build and publish",
            lambda: {"countries": traffic.countries(published, dates)} if dates else None,
        ),
        "cube": combined,
        "funnels": section(
            "marts.funnel_steps",
            funnels.STEP_COLUMNS,
            _define("funnel"),
            lambda: funnels.read(published, until, combined),
        ),
        "journeys": section(
            "marts.journey_edges",
            "journey date step_no from_node to_node unit_n median_s",
            _define("journey"),
            lambda: journeys.read(published, dates, limits) if dates else None,
        ),
        "walks": section(
            "core.events",
            walks.EVENT_COLUMNS,
            "only the last days are published, and nobody looked at a page in them",
            lambda: walks.read(published, dates, combined) if dates and not walks.lacks(published) else None,
        ),
        "pages": section(
            "marts.heatmap_cells",
            CELL_COLUMNS,
            "put footfall.js on the pages, which sends clicks, scrolling and attention, or wait for visitors",
            lambda: pages.read(published, dates) if dates else None,
        ),
        "retention": section(
            "marts.retention_cells",
            retention.COLUMNS,
            _define("retention"),
            lambda: retention.read(published, until),
        ),
        "attribution": section(
            "marts.attribution",
            attribution.COLUMNS,
            "name key events under [site] key_events in footfall.toml, or wait for a conversion",
            lambda: attribution.read(published),
        ),
        "lifecycle": section(
            "marts.lifecycle",
            lifecycle.COLUMNS,
            "wait for visitors, then build and publish",
            lambda: lifecycle.read(published, until),
        ),
        "sessions": section(
            "core.sessions",
            sessions.COLUMNS,
            "only the sessions of the last days are published, and none began in them",
            lambda: sessions.read(published, dates, combined) if dates else None,
        ),
        "bots": section("marts.bots_daily", bots.COLUMNS, "", lambda: bots.read(published, dates) if dates else None),
        "quality": quality.read(published, dates),
    }


def render(data: Row) -> str:
    """The page with everything in it, and a policy that lets only these very scripts run."""
    body = "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    scripts = {
        "theme": (HERE / "theme.js").read_text(encoding="utf-8"),
        "echarts": (HERE / "vendor" / "echarts.min.js").read_text(encoding="utf-8"),
        "script": f'(() => {{\n"use strict";\n{body}\n}})();',
    }
    style = (HERE / "page.css").read_text(encoding="utf-8")
    allowed = " ".join(_hash(script) for script in scripts.values())
    parts = {
        **scripts,
        "style": style,
        "policy": f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(f"{data['site']['name']} · footfall report"),
        "licence": html.escape(
            "\n".join((HERE / "vendor" / name).read_text(encoding="utf-8") for name in ("NOTICE", "LICENSE"))
        ),
        "data": embed(data),
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    # one pass, so that nothing in a part is taken for a place
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def _define(kind: str) -> str:
    return f"define a [[{kind}]] in footfall.toml, or wait for traffic that enters it"


def embed(data: Row) -> str:
    """JSON that cannot end its script element or begin a comment, whatever the texts in it say."""
    text = json.dumps(data, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(value: object) -> str | float:
    match value:
        case datetime():
            return value.isoformat(timespec="seconds") + "Z"
        case date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in the report")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
