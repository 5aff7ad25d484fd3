"""Which days the report covers."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb
import pytest

from report.period import Period, local_date, read
from report.published import Published


def published(*days: date) -> Published:
    connection = duckdb.connect()
    connection.execute(
        "create schema marts; create table marts.traffic_totals (period varchar, period_start date, is_complete bool)"
    )
    for on in days:
        connection.execute("insert into marts.traffic_totals values ('day', $on, true)", {"on": on})
    return Published(connection)


def test_a_quiet_yesterday_is_complete() -> None:
    found = read(published(date(2026, 11, 1), date(2026, 11, 18)), datetime(2026, 11, 21, 9), "UTC")
    assert found is not None
    assert (found.first, found.last, found.complete) == (
        date(2026, 11, 1),
        date(2026, 11, 20),
        date(2026, 11, 20),
    )


def test_the_day_that_runs_is_shown_but_not_complete() -> None:
    found = read(published(date(2026, 11, 1), date(2026, 11, 21)), datetime(2026, 11, 21, 9), "UTC")
    assert found is not None
    assert (found.last, found.complete) == (date(2026, 11, 21), date(2026, 11, 20))


def test_on_the_first_day_nothing_is_complete() -> None:
    found = read(published(date(2026, 11, 21)), datetime(2026, 11, 21, 9), "UTC")
    assert found is not None
    assert (found.first, found.last, found.complete) == (date(2026, 11, 21), date(2026, 11, 21), None)
    assert [choice.key for choice in found.ranges] == ["all"]


def test_without_traffic_there_is_no_period() -> None:
    assert read(published(), datetime(2026, 11, 21, 9), "UTC") is None


def test_an_event_of_long_ago_does_not_stretch_the_report() -> None:
    found = read(published(date(1970, 1, 1), date(2026, 11, 20)), datetime(2026, 11, 21, 9), "UTC")
    assert found is not None
    assert found.is_cut
    assert (found.last - found.first).days == 730


def test_old_logs_are_shown_where_they_end() -> None:
    found = read(published(date(2015, 5, 17), date(2015, 5, 20)), datetime(2026, 11, 21, 9), "UTC")
    assert found is not None
    assert found.is_past
    assert (found.first, found.last, found.complete) == (date(2015, 5, 17), date(2015, 5, 20), date(2015, 5, 20))
    assert found.until == date(2015, 5, 20)


def test_a_site_that_went_silent_lately_shows_its_silence() -> None:
    found = read(published(date(2026, 10, 1), date(2026, 11, 1)), datetime(2026, 11, 21, 9), "UTC")
    assert found is not None
    assert not found.is_past
    assert found.last == date(2026, 11, 20)


@pytest.mark.parametrize(
    ("zone", "on"),
    [
        ("UTC", date(2026, 11, 21)),
        ("Europe/Amsterdam", date(2026, 11, 22)),
        ("Not/AZone", date(2026, 11, 21)),
    ],
)
def test_a_date_is_that_of_the_zone(zone: str, on: date) -> None:
    assert local_date(datetime(2026, 11, 21, 23, 30), zone) == on


def test_a_change_is_shown_only_against_days_that_are_all_on_record() -> None:
    complete = date(2026, 11, 20)
    ranges = {
        choice.key: choice for choice in Period(complete - timedelta(days=59), complete, complete, False, False).ranges
    }
    assert set(ranges) == {"7", "28", "all"}
    assert ranges["28"].since == date(2026, 10, 24)
    assert (ranges["28"].before_since, ranges["28"].before_until) == (date(2026, 9, 26), date(2026, 10, 23))
    ranges = {
        choice.key: choice for choice in Period(complete - timedelta(days=40), complete, complete, False, False).ranges
    }
    assert ranges["28"].before_since is None
