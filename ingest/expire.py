"""Retention: what clients sent word for word goes after a time; that and when an event came stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from warehouse import Warehouse

PAYLOAD = ("url", "referrer", "title", "properties", "traits", "context")
# Landings are in the order of event_no, and nothing landed before it was received. The least number that landed since
# then bounds what is old, so that a clock that once was wrong keeps payloads longer, and takes none too early.
BOUND = """
select coalesce(
    (select min(first_event_no) - 1 from raw.landings where landed_at >= $before),
    (select max(last_event_no) from raw.landings),
    0
)
"""


@dataclass(frozen=True)
class Expired:
    """Payloads that went: of events and of rejected pieces, landed before `before` (UTC)."""

    event_n: int
    rejected_n: int
    before: datetime


def expire(warehouse: Warehouse, *, keep: timedelta, now: datetime) -> Expired:
    """Forget the payload of what landed longer ago than `keep`; in core.events the facts made from it stay.

    Every finished build must have passed them, so events that no build has seen keep theirs. Safe to repeat.
    """
    before = now.astimezone(UTC).replace(tzinfo=None) - keep
    done = int(warehouse.value("select coalesce(max(event_no), 0) from raw.expired"))
    built = int(
        warehouse.value("select coalesce(max(upto_event_no), 0) from meta.builds where finished_at is not null")
    )
    upto = min(int(warehouse.value(BOUND, {"before": before})), built)
    with warehouse.transaction():
        event_n = 0
        if upto > done:
            event_n = warehouse.execute(
                f"update raw.events set {', '.join(f'{name} = null' for name in PAYLOAD)} "
                "where event_no > $done and event_no <= $upto",
                {"done": done, "upto": upto},
            )[0][0]
            warehouse.execute("delete from raw.expired")
            warehouse.execute("insert into raw.expired values ($upto, $before)", {"upto": upto, "before": before})
        rejected_n = warehouse.execute(
            "update raw.rejected set bytes = null where bytes is not null and landing_id < ("
            "select coalesce(min(landing_id), 9223372036854775807) from raw.landings where landed_at >= $before)",
            {"before": before},
        )[0][0]
    return Expired(event_n, rejected_n, before)
