"""Programs as an audience of their own, and what moved when a rule about them changed."""

from __future__ import annotations

from typing import Any

from report.period import Period
from report.published import Published, Row

COLUMNS = "source date bot_kind bot_rule session_n page_view_n event_n"
CHANGE_COLUMNS = "build_id counted was_kind was_rule now_kind now_rule moved_n"
SUMS = ("session_n", "page_view_n", "event_n")
DETAILS = (60, 30, 15, 8)
MOST_ROWS = 12_000
MOST_CHANGES = 60
OTHER = "(other)"


def read(published: Published, period: Period) -> Row:
    """Programs by date, source, kind and rule, and the newest changes of rules with what each moved.

    `rows` has [source, kind, rule, [day], [value]…]: texts, days since `first`, one list for each name in `names`.
    The smallest rules are folded into `(other)`. `changes` is None where meta.bot_changes is not published.
    """
    for most in DETAILS:
        rows = published.rows(
            "with kept as ("
            "  select bot_rule from marts.bots_daily where date between $since and $until"
            "  group by bot_rule order by sum(event_n) desc, bot_rule limit $most"
            ") select date, source, bot_kind, case when bot_rule in (from kept) then bot_rule else $other end as rule,"
            + ", ".join(f" sum({name})::bigint as {name}" for name in SUMS)
            + " from marts.bots_daily where date between $since and $until group by all"
            " order by source, bot_kind, rule, date",
            since=period.first,
            until=period.last,
            most=most,
            other=OTHER,
        )
        if len(rows) <= MOST_ROWS:
            break
    found: dict[tuple[str, str, str], list[list[Any]]] = {}
    for row in rows:
        lists = found.setdefault((row["source"], row["bot_kind"], row["rule"]), [[] for _ in range(len(SUMS) + 1)])
        lists[0].append((row["date"] - period.first).days)
        for at, name in enumerate(SUMS, 1):
            lists[at].append(row[name])
    changes = None
    if not published.lacks("meta.bot_changes", CHANGE_COLUMNS):
        changes = published.rows(
            f"select {', '.join(CHANGE_COLUMNS.split())} from meta.bot_changes"
            " order by build_id desc, moved_n desc, counted, was_rule, now_rule limit $most",
            most=MOST_CHANGES,
        )
    return {
        "first": period.first,
        "names": SUMS,
        "rows": [[*place, *lists] for place, lists in found.items()],
        "changes": changes,
    }
