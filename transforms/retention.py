"""Retention: who came back, how often and with what value, by cohort (meaning: A9 of the semantics)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from transforms.definitions import DAY_US, Retention
from transforms.timeline import lay_out

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
MEMBER = -1  # period_no of the row that only says that the person belongs to the cohort
DAYS = {"day": 1, "week": 7, "month": 30}  # of a rolling period


def last_index(retention: Retention) -> int:
    """K: the last period after entry that is looked at."""
    return max(last for _, last in retention.brackets) if retention.mode == "brackets" else retention.intervals


def entries(facts: pl.DataFrame, retention: Retention) -> pl.DataFrame:
    """One row per member of a cohort and period with returns, and one row per member with period_no -1.

    `facts`, sorted by (person_id, at, the rest of the total order): person_id Int64 (who counts at all: no
    `daily` ids for first_ever), at Int64 µs, period_no_abs Int64 (the local period's number, consecutive),
    period_start Date, is_start, is_return Boolean, value Float64, breakdown String. For first_ever a person's
    whole history.

    Out, columns ENTRIES, sorted by person, cohort and period_no: entry_at µs; period_no 0 to K is the index
    of the period after entry, whatever the mode (cells add them up); occurrence_n return events in it, none
    before the entry event, which itself counts if it matches; value their sum, or their number for value =
    count.
    """
    is_rolling = retention.clock == "rolling_24h"
    length = DAYS[retention.period] * DAY_US if is_rolling else 1
    span = length * (last_index(retention) + 1)
    # On the calendar the ticks of the time axis are the periods themselves.
    ticks = facts.rename({"person_id": "unit_id", "at": "event_at"}).with_columns(
        at=pl.col("event_at") if is_rolling else pl.col("period_no_abs"),
        value=pl.lit(1.0) if retention.value == "count" else pl.col("value"),
    )
    found = [_entries_of_part(part, retention, length, span) for part in lay_out(ticks, margin_us=span)]
    return pl.concat(found) if found else pl.DataFrame(schema=ENTRIES)


def _entries_of_part(part: pl.DataFrame, retention: Retention, length: int, span: int) -> pl.DataFrame:
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
            entry_at="event_at",
            breakdown_value=pl.col("breakdown").fill_null("(none)") if retention.breakdown else pl.lit("(all)"),
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
