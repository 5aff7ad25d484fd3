"""Retention: who came back, how often and with what value, by cohort (meaning: A9 of the semantics)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from transforms.definitions import DAY_US, Retention
from transforms.timeline import in_slices, lay_out
from transforms.total_order import in_order

ENTRIES: dict[str, pl.DataType | type[pl.DataType]] = {
    "person_id": pl.Int64,
    "cohort_start": pl.Date,
    "cohort_no": pl.Int64,
    "entry_at": pl.Int64,
    "breakdown_value": pl.String,
    "period_no": pl.Int16,
    "occurrence_n": pl.Int64,
    "value": pl.Float64,
}
CELLS: dict[str, pl.DataType | type[pl.DataType]] = {
    "cohort_start": pl.Date,
    "period_no": pl.Int16,
    "from_no": pl.Int16,
    "to_no": pl.Int16,
    "complete_at": pl.Datetime("us"),
    "final_at": pl.Datetime("us"),
    "is_censored": pl.Boolean,
}
OWNER = ("person_id", "cohort_start", "cohort_no", "entry_at", "breakdown_value")
MEMBER = -1  # period_no of the row that only says that the person belongs to the cohort
DAYS = {"day": 1, "week": 7, "month": 30}  # of a rolling period


def last_index(retention: Retention) -> int:
    """K: the last period after entry that is looked at."""
    return max(last for _, last in retention.brackets) if retention.mode == "brackets" else retention.intervals


def facts_query(lines: str, retention: Retention) -> str:
    """SQL for what `entries` walks, from a query of the events that start or return, `lines`.

    Its columns: person_id, at (µs), period_no_abs (the local period's number, consecutive), period_start, is_start,
    is_return, value, breakdown, and the rest of the total order: seq, event_id, source, event_no. For first_ever a
    person's whole history. Where every event that starts also returns and no breakdown is asked for, is_start,
    is_return, breakdown and the rest of the order are not read.
    """
    order = '"at", seq nulls last, event_id, source, event_no'
    if retention.clock == "rolling_24h":
        return f"select * from ({lines}) as lines order by person_id, {order}"
    # On the calendar a period of a person is one fact, whatever its number of events.
    if retention.start == retention.returns and not retention.breakdown:
        value = "cast(count(*) as double)" if retention.value == "count" else "sum(value)"
        return f"""
            select
                person_id, period_no_abs, min(period_start) as period_start, min("at") as entry_at,
                count(*) as occurrence_n, {value} as value
            from ({lines}) as lines
            group by person_id, period_no_abs
        """
    value = "1.0" if retention.value == "count" else "value"
    return f"""
        with told as (
            select
                *,
                bool_or(is_start) over (
                    partition by person_id, period_no_abs order by {order}
                    rows between unbounded preceding and current row
                ) as is_after
            from ({lines}) as lines
        )

        select
            person_id, period_no_abs, min(period_start) as period_start, min("at") filter (where is_start) as entry_at,
            count(*) filter (where is_return) as occurrence_n, sum({value}) filter (where is_return) as value,
            count(*) filter (where is_return and is_after) as after_n,
            sum({value}) filter (where is_return and is_after) as after_value,
            first(breakdown order by {order}) filter (where is_start) as breakdown
        from told
        group by person_id, period_no_abs
    """


def entries(facts: pl.DataFrame, retention: Retention) -> pl.DataFrame:
    """One row per member of a cohort and period with returns, and one row per member with period_no -1.

    `facts` is what `facts_query` selects (of all persons who count: no `daily` ids for first_ever).

    Out, columns ENTRIES, sorted by person, cohort and period_no: entry_at µs; period_no 0 to K is the index
    of the period after entry, whatever the mode (cells add them up); occurrence_n return events in it, none
    before the entry event, which itself counts if it matches; value their sum, or their number for value =
    count.
    """
    find = _rolling
    if retention.clock == "calendar":
        find = _calendar
        facts = in_order(facts.rename({"period_no_abs": "at"}), "person_id").rename({"at": "period_no_abs"})
    found = in_slices(facts, "person_id", lambda some: find(some, retention))
    return pl.concat([pl.DataFrame(schema=ENTRIES), *found])


def _calendar(facts: pl.DataFrame, retention: Retention) -> pl.DataFrame:
    if facts.is_empty():
        return pl.DataFrame(schema=ENTRIES)
    if "after_n" not in facts.columns:
        facts = facts.with_columns(after_n="occurrence_n", after_value="value")
    person, period = (facts[name].to_numpy() for name in ("person_id", "period_no_abs"))
    row = np.flatnonzero(facts["entry_at"].is_not_null())
    if retention.entry == "first_ever":
        row = row[np.append(True, person[row][1:] != person[row][:-1])[: len(row)]]
    # A person's facts stand together, one a period: the periods after entry follow the member's own.
    width = int(period.max() - period.min()) + last_index(retention) + 1
    key = np.cumsum(np.append(False, person[1:] != person[:-1])) * width + (period - period.min())
    length = 1 + np.searchsorted(key, key[row] + last_index(retention), "right") - row
    begin = np.cumsum(length) - length
    ahead = np.arange(length.sum()) - begin.repeat(length) - 1  # below 0: the row of the member itself
    members = facts.select(
        "person_id",
        "entry_at",
        cohort_start="period_start",
        cohort_no="period_no_abs",
        breakdown_value=_breakdown_value(retention),
    )[pl.Series(row.repeat(length))]
    met = facts.select("period_no_abs", "occurrence_n", "value", "after_n", "after_value")[
        pl.Series(row.repeat(length) + np.maximum(ahead, 0))
    ]
    after = pl.col("period_no_abs") - pl.col("cohort_no")
    is_own, is_entry = pl.col("ahead") < 0, pl.col("ahead") == 0
    return (
        members.hstack(met)
        .with_columns(ahead=ahead)
        .select(
            *OWNER,
            period_no=pl.when(is_own).then(MEMBER).otherwise(after).cast(pl.Int16),
            occurrence_n=pl.when(is_own).then(0).when(is_entry).then("after_n").otherwise("occurrence_n"),
            value=pl.when(is_own).then(0.0).when(is_entry).then("after_value").otherwise("value").fill_null(0.0),
        )
        .filter((pl.col("period_no") == MEMBER) | (pl.col("occurrence_n") > 0))
    )


def _breakdown_value(retention: Retention) -> pl.Expr:
    return pl.col("breakdown").fill_null("(none)") if retention.breakdown else pl.lit("(all)")


def _rolling(facts: pl.DataFrame, retention: Retention) -> pl.DataFrame:
    length = DAYS[retention.period] * DAY_US
    span = length * (last_index(retention) + 1)
    ticks = facts.rename({"person_id": "unit_id"}).with_columns(
        value=pl.lit(1.0) if retention.value == "count" else pl.col("value")
    )
    found = [_rolling_part(part, retention, length, span) for part in lay_out(ticks, margin_us=span)]
    return pl.concat([pl.DataFrame(schema=ENTRIES), *found])


def _rolling_part(part: pl.DataFrame, retention: Retention, length: int, span: int) -> pl.DataFrame:
    part = part.with_row_index("row")
    is_new = pl.col("unit_id") != pl.col("unit_id").shift()
    if retention.entry == "recurring":
        is_new = is_new | (pl.col("period_no_abs") != pl.col("period_no_abs").shift())
    members = (
        part.filter(pl.col("is_start"))
        .filter(is_new.fill_null(True))
        .select(
            "row",
            "key",
            person_id="unit_id",
            cohort_start="period_start",
            cohort_no="period_no_abs",
            entry_at="at",
            breakdown_value=_breakdown_value(retention),
        )
    )
    returns = part.filter(pl.col("is_return")).select("row", "key", "value")
    begin = returns["row"].search_sorted(members["row"], "left")
    stop = returns["key"].search_sorted(members["key"] + span, "left")
    place = pl.int_ranges(begin, stop, dtype=pl.UInt32, eager=True).alias("place")
    met = members.select(member=pl.int_range(pl.len(), dtype=pl.UInt32), entry="key", place=place).explode("place")
    met = met.filter(pl.col("place").is_not_null())
    counted = (
        met.with_columns(returns["key"].gather(met["place"]), returns["value"].gather(met["place"]))
        .with_columns(period_no=((pl.col("key") - pl.col("entry")) // length).cast(pl.Int16))
        .group_by("member", "period_no")
        .agg(occurrence_n=pl.len().cast(pl.Int64), value=pl.col("value").sum())
    )
    membership = members.select(
        member=pl.int_range(pl.len(), dtype=pl.UInt32),
        period_no=pl.lit(MEMBER, pl.Int16),
        occurrence_n=pl.lit(0, pl.Int64),
        value=pl.lit(0.0),
    )
    facts = pl.concat([membership, counted]).sort("member", "period_no")
    owner = members.drop("row", "key")[facts["member"]]
    return pl.concat([owner, facts.drop("member")], how="horizontal").select(list(ENTRIES))


def cells(
    retention: Retention, first_date: date, horizon: datetime, timezone: str, *, last_date: date | None = None
) -> pl.DataFrame:
    """Every cell from the cohort of `first_date` to the horizon's local date, or to `last_date` if later.

    `horizon` is UTC without zone. Columns CELLS: the cell period_no adds up the indexes from_no to to_no: for
    exact k alone, for on_or_after k to K, for brackets period_no 0 is index 0 and 1, 2, … are the brackets in
    order. Instants are UTC: complete_at when the last member's index is over, final_at when nothing can be
    added.
    """
    zone = ZoneInfo(timezone)
    until = horizon.replace(tzinfo=UTC).astimezone(zone).date()
    until = max(until, last_date) if last_date else until
    last = last_index(retention)
    if retention.mode == "brackets":
        ranges = [(0, 0), *retention.brackets]
    else:
        ranges = [(k, last if retention.mode == "on_or_after" else k) for k in range(last + 1)]
    censored_until = first_date + timedelta(days=retention.warmup_days)
    rows = []
    cohort = _start(first_date, retention.period)
    while cohort <= until:
        is_censored = cohort < censored_until
        for number, (first, to) in enumerate(ranges):
            final_at = _over_at(cohort, to, retention, zone)
            complete_at = _over_at(cohort, first, retention, zone) if retention.mode == "on_or_after" else final_at
            rows.append((cohort, number, first, to, complete_at, final_at, is_censored))
        cohort = _shift(cohort, 1, retention.period)
    return pl.DataFrame(rows, schema=CELLS, orient="row")


def _over_at(cohort: date, index: int, retention: Retention, zone: ZoneInfo) -> datetime:
    """When the period `index` after entry is over for the last member of the cohort."""
    if retention.clock == "calendar":
        return _begins_at(_shift(cohort, index + 1, retention.period), zone)
    return _begins_at(_shift(cohort, 1, retention.period), zone) + timedelta(days=DAYS[retention.period] * (index + 1))


def _begins_at(day: date, zone: ZoneInfo) -> datetime:
    """The UTC instant, without zone, at which a local date begins."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).replace(tzinfo=None)


def _start(day: date, period: str) -> date:
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def _shift(start: date, count: int, period: str) -> date:
    if period == "month":
        months = start.year * 12 + start.month - 1 + count
        return date(months // 12, months % 12 + 1, 1)
    return start + timedelta(days=DAYS[period] * count)
