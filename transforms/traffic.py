"""marts.traffic_daily and marts.traffic_totals: the daily numbers, by date."""

from __future__ import annotations

from transforms import dates
from transforms.periods import instant
from transforms.run import Run


def count(run: Run) -> int:
    """Make the touched local dates again, and the weeks and months that hold them."""
    warehouse = run.warehouse
    if run.whole:
        run.forget("core.visitor_days")
    dates.touch(run)
    values = {"timezone": run.definitions.site.timezone, "horizon": run.horizon}
    warehouse.execute(
        f"""
        create or replace temp table touched_periods as
        with starts as (
            select
                'day' as period, date as period_start, date + 1 as until_date
            from touched_dates
            union
            select
                'week', cast(date_trunc('week', date) as date), cast(date_trunc('week', date) as date) + 7
            from touched_dates
            union
            select
                'month', cast(date_trunc('month', date) as date),
                cast(date_trunc('month', date) + interval 1 month as date)
            from touched_dates
        )

        select
            period, period_start, until_date, {instant("until_date")} as ends_at
        from starts
        """,
        values,
    )
    rows = 0
    by_date = "true" if run.whole else "date in (select date from touched_dates)"
    by_period = "true" if run.whole else "(period, period_start) in (select period, period_start from touched_periods)"
    for table, key, scope in (
        ("core.visitor_days", "date, source, channel, device, country, is_bot, person_id", by_date),
        ("marts.traffic_daily", "source, date, channel, device, country, is_bot", by_date),
        ("marts.bots_daily", "source, date, bot_kind, bot_rule", by_date),
        ("marts.traffic_totals", "source, period, period_start, is_bot", by_period),
    ):
        rows += run.replace(table, warehouse.query(table), values, scope=scope, key=key)
    return rows
