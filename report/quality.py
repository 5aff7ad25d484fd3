"""How fresh and how sound the numbers are, in the words of the published meta tables."""

from __future__ import annotations

from report.period import Period
from report.published import Published, Row

SHOWN_RESTATEMENTS = 40
SHOWN_GROUPS = 12
BUILD = "built_at version definitions_hash landed_to horizon build_id site_name timezone currency"


def build_info(published: Published) -> Row:
    """The newest build; empty where the published file does not say."""
    if published.lacks("meta.build_info", BUILD):
        return {}
    rows = published.rows(
        "select built_at, version, definitions_hash, landed_to::varchar as landed_to, horizon,"
        " build_id::varchar as build_id, site_name, timezone, currency"
        " from meta.build_info order by built_at desc limit 1"
    )
    return rows[0] if rows else {}


def read(published: Published, period: Period | None) -> Row:
    """Checks, definitions that lead nowhere, the newest restatements, the share of bots, and what the columns mean."""
    missing = {
        "checks": published.lacks("meta.quality", "check_name value expected is_ok"),
        "definitions": published.lacks("meta.definitions", "section name place pattern problem"),
        "restatements": published.lacks("meta.restatements", "table_name key column_name was now why restated_at"),
        "dictionary": published.lacks("meta.data_dictionary", "schema_name table_name column_name description"),
    }
    found: Row = {
        "missing": missing,
        "checks": [],
        "definitions": [],
        "restatements": [],
        "restatement_groups": [],
        "restatement_n": 0,
        "dictionary": [],
        "bots": None,
    }
    if not missing["checks"]:
        found["checks"] = published.rows(
            "select check_name, value::varchar as value, expected::varchar as expected, is_ok"
            " from meta.quality order by is_ok is not false, rowid"
        )
    if not missing["definitions"]:
        found["definitions"] = published.rows(
            "select section, name, place, pattern, problem from meta.definitions"
            " where problem <> 'every event matches' order by rowid"
        )
    if not missing["restatements"]:
        found["restatements"] = published.rows(
            "select table_name, key::varchar as key, column_name, was::varchar as was, now::varchar as now,"
            " why, restated_at from meta.restatements"
            " order by restated_at desc, table_name, key, column_name limit $most",
            most=SHOWN_RESTATEMENTS,
        )
        found["restatement_groups"] = published.rows(
            "select restated_at, table_name, why, count(*) as number_n from meta.restatements"
            " group by restated_at, table_name, why"
            " order by restated_at desc, number_n desc, table_name, why limit $most",
            most=SHOWN_GROUPS,
        )
        found["restatement_n"] = published.rows("select count(*) as n from meta.restatements")[0]["n"]
    if not missing["dictionary"]:
        found["dictionary"] = published.rows(
            "select table_name, column_name, description from meta.data_dictionary"
            " where schema_name = 'marts' and column_name <> '' order by table_name, column_name"
        )
    if period:
        found["bots"] = published.rows(
            "select coalesce(sum(session_n) filter (where is_bot), 0)::bigint as bot_session_n,"
            " coalesce(sum(page_view_n) filter (where is_bot), 0)::bigint as bot_page_view_n,"
            " coalesce(sum(session_n), 0)::bigint as session_n,"
            " coalesce(sum(page_view_n), 0)::bigint as page_view_n"
            " from marts.traffic_totals where period = 'day' and source = '(all)'"
            " and period_start between $since and $until",
            since=period.first,
            until=period.last,
        )[0]
    return found
