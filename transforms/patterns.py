"""meta.definitions: which patterns of the definitions match nothing, or everything, or lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from transforms.definitions import Definitions, Funnel, Retention, Step
from transforms.steps import like
from warehouse import Warehouse

Pattern = tuple[str, str, str, str, bool]  # section, name, place, pattern, whether it is of a page's path


def check(warehouse: Warehouse, definitions: Definitions) -> None:
    """Fill meta.definitions; to be called inside a transaction."""
    rows = [(*each, like(each[3]), rank) for rank, each in enumerate(_patterns(definitions))]
    kinds = {
        **dict.fromkeys(("section", "name", "place", "pattern"), pl.String),
        "is_path": pl.Boolean,
        "like_pattern": pl.String,
        "rank": pl.Int64,
    }
    with warehouse.frames(_patterns=pl.DataFrame(rows, schema=kinds, orient="row")):
        warehouse.execute("create or replace temp table patterns as select * from _patterns")
    warehouse.execute("delete from meta.definitions")
    warehouse.insert("meta.definitions")


def _patterns(definitions: Definitions) -> Iterator[Pattern]:
    for pattern in definitions.site.key_events:
        yield "site", "", "key_events", pattern, False
    for funnel in definitions.funnels:
        for number, step in enumerate(funnel.steps, 1):
            yield _of(step, "funnel", funnel.name, f"step {number}")
        for exclude in funnel.exclude:
            yield "funnel", funnel.name, "exclude", exclude.event, False
        yield from _breakdown("funnel", funnel)
    for retention in definitions.retentions:
        yield _of(retention.start, "retention", retention.name, "start")
        yield _of(retention.returns, "retention", retention.name, "returns")
        yield from _breakdown("retention", retention)
        if retention.value != "count":
            yield "retention", retention.name, "value", retention.value, False
    for pattern in definitions.lifecycle.active_events:
        yield "lifecycle", "", "active_events", pattern, False
    for journey in definitions.journeys:
        for place, node in (("start", journey.start), ("end", journey.end)):
            if node:
                yield _of(node, "journey", journey.name, place)
        if not (journey.start or journey.end):
            yield "journey", journey.name, "include", ", ".join(journey.include) or "*", False
        for pattern in journey.events:
            yield "journey", journey.name, "events", pattern, False
    for pattern in definitions.attribution.touches:
        yield "attribution", "", "touches", pattern, False
    for event in definitions.events:
        yield "event", event.name, "name", event.name, False


def _breakdown(section: str, definition: Funnel | Retention) -> Iterator[Pattern]:
    if definition.breakdown:
        yield section, definition.name, "breakdown", definition.breakdown, False


def _of(step: Step, section: str, name: str, place: str) -> Pattern:
    return section, name, place, step.label, step.event is None
