"""The report as a file: what it holds, what it refuses, and that it needs nothing else."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

from report.interval import wilson
from report.page import ReportError, write

NOW = datetime(2026, 11, 21, 15, 0)


def page(bi: Path, folder: Path) -> str:
    out = folder / "report.html"
    write(bi, out, now=NOW, limits={"from-home": (100, 1)})
    return out.read_text(encoding="utf-8")


def data(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def rows(bi: Path, sql: str, **values: object) -> list[Any]:
    with duckdb.connect(str(bi), read_only=True) as connection:
        return connection.execute(sql, values).fetchall() if values else connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def text(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(sample, tmp_path_factory.mktemp("page"))


def test_without_a_published_file_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"bi\.duckdb is not there: build and publish first, with footfall run$"):
        write(tmp_path / "bi.duckdb", tmp_path / "report.html", now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "bi.duckdb").write_text("hello " * 1000)
    with pytest.raises(ReportError, match=r"bi\.duckdb cannot be read .*: publish it anew, with footfall publish$"):
        write(tmp_path / "bi.duckdb", tmp_path / "report.html", now=NOW)


def test_a_place_that_cannot_be_written_is_named(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot be written .*: make room there, or choose another place$"):
        write(sample, tmp_path / "missing" / "report.html", now=NOW)


def test_an_empty_published_file_gives_sentences_and_no_failure(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "bi.duckdb")).close()
    found = data(page(tmp_path / "bi.duckdb", tmp_path))
    for section in ("overview", "channels", "funnels", "journeys", "pages", "retention"):
        assert re.fullmatch(r"The published file has no marts\.\w+ yet: .*\.", found[section]["empty"])
    assert found["period"] is None


@pytest.mark.parametrize(
    ("table", "section"),
    [
        ("marts.traffic_daily", "channels"),
        ("marts.funnel_steps", "funnels"),
        ("marts.journey_edges", "journeys"),
        ("marts.retention_cells", "retention"),
        ("marts.heatmap_cells", "pages"),
        ("marts.traffic_totals", "overview"),
    ],
)
def test_a_missing_table_costs_its_section_only(
    sample_of: Callable[..., Path], tmp_path: Path, table: str, section: str
) -> None:
    bi = sample_of(days=3)
    with duckdb.connect(str(bi)) as connection:
        connection.execute(f"drop table {table}")
    found = data(page(bi, tmp_path))
    assert table in found[section]["empty"]
    for other in {"channels", "funnels", "journeys", "pages", "retention"} - {section}:
        assert table != "marts.traffic_totals" or "empty" not in found[other] or table in found[other]["empty"]
        assert table == "marts.traffic_totals" or "empty" not in found[other]


def test_tables_without_rows_are_told_from_missing_ones(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=3)
    with duckdb.connect(str(bi)) as connection:
        connection.execute("delete from marts.retention_cells; delete from marts.traffic_totals")
    found = data(page(bi, tmp_path))
    assert "marts.retention_cells has no rows yet" in found["retention"]["empty"]
    assert "No traffic is published yet" in found["overview"]["empty"]


def test_the_file_needs_no_other(text: str) -> None:
    head, scripts = text.split("<script>", 1)[0], re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    markup = re.sub(r"<(script|style|pre)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(src|href|srcset|action|data)\s*=\s*\"(?!#)", markup)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    assert not re.search(r"url\(|@import", style[1])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', head)
    assert policy
    hashes = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    assert len(hashes) == 3
    assert policy[1].startswith(f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_the_licences_of_the_parts_are_in_the_file(text: str) -> None:
    assert "The Apache Software Foundation" in text
    assert "Copyright 2010-2016 Mike Bostock" in text
    assert "Copyright (c) 2017, Baidu Inc." in text


def test_hostile_text_never_stands_as_markup(text: str, sample: Path) -> None:
    hostile = rows(sample, "select distinct to_node from marts.journey_edges where to_node like '%onerror%'")[0][0]
    assert hostile not in text
    assert 'onerror="' not in text
    assert any(hostile in path for path, *_ in data(text)["journeys"][0]["ranges"]["all"]["paths"]) or any(
        hostile == name for _, name, *_ in data(text)["journeys"][0]["ranges"]["all"]["flow"]["nodes"]
    )


def test_the_title_is_text(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    written = page(sample_of(days=2, site="</title><script>window.owned=1</script>{{data}}"), tmp_path)
    assert (
        "<title>&lt;/title&gt;&lt;script&gt;window.owned=1&lt;/script&gt;{{data}} · footfall report</title>" in written
    )


def test_the_same_file_gives_the_same_bytes(sample: Path, text: str, tmp_path: Path) -> None:
    before = sha256(sample.read_bytes()).hexdigest()
    assert page(sample, tmp_path) == text
    assert sha256(sample.read_bytes()).hexdigest() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_overview_series_are_the_published_totals(text: str, sample: Path) -> None:
    found = data(text)["overview"]["series"]
    assert set(found) == {"(all)", "web", "app"}
    for source, grains in found.items():
        for grain, series in grains.items():
            expected = rows(
                sample,
                "select strftime(period_start, '%Y-%m-%d'), visitor_n, session_n, converted_session_n,"
                " is_complete, revenue_amt::double"
                " from marts.traffic_totals where source = $source and period = $grain and not is_bot"
                " and case period when 'day' then period_start when 'week' then period_start + 6"
                " else last_day(period_start) end >= $first order by period_start",
                source=source,
                grain=grain,
                first=date.fromisoformat(data(text)["period"]["first"]),
            )
            names = ("starts", "visitor_n", "session_n", "converted_session_n", "is_complete")
            assert list(zip(*(series[name] for name in names), strict=True)) == [row[:5] for row in expected]
            assert series["revenue_amt"] == pytest.approx([row[5] for row in expected], abs=0.006)


def test_country_sums_are_those_of_the_complete_days(text: str, sample: Path) -> None:
    found = data(text)
    sums = found["channels"]["countries"]["(all)"]["28"]
    expected = rows(
        sample,
        "select country, sum(session_n) filter (where date >= '2026-10-24'),"
        " sum(session_n) filter (where date < '2026-10-24') from marts.traffic_daily"
        " where not is_bot and date between '2026-09-26' and '2026-11-20' group by 1 order by 2 desc",
    )
    assert [(row["value"], row["session_n"], row["before_n"]) for row in sums] == expected
    assert sum(row[1] for row in expected) == sum(found["overview"]["series"]["(all)"]["day"]["session_n"][-29:-1])


def test_funnels_add_up_complete_periods_only(text: str, sample: Path) -> None:
    funnel = next(one for one in data(text)["funnels"] if one["name"] == "checkout")
    found = funnel["ranges"]["28"]
    reached = [
        n
        for (n,) in rows(
            sample,
            "select sum(reached_n)::bigint from marts.funnel_steps where funnel = 'checkout' and is_complete"
            " and period_start between '2026-10-10' and '2026-11-06' group by step_no order by step_no",
        )
    ]
    assert (found["since"], found["until"], found["period_n"]) == ("2026-10-10", "2026-11-06", 28)
    assert found["reached_n"] == reached
    assert found["overall_pct"][-1] == pytest.approx(reached[-1] / reached[0], abs=1e-6)
    low, high = wilson(reached[-1], reached[0]) or (0, 0)
    assert (found["overall_lo"][-1], found["overall_hi"][-1]) == pytest.approx((low, high), abs=1e-6)
    assert funnel["open_periods"] == 15
    median = rows(
        sample,
        "select quantile_cont(epoch(step_at[4] - step_at[1]), 0.5) from marts.funnel_attempts"
        " where funnel = 'checkout' and depth = 4 and period_start between '2026-10-10' and '2026-11-06'",
    )[0][0]
    assert found["median_s"][3] == pytest.approx(median)


def test_a_funnel_by_group_shows_its_groups(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=40)
    with duckdb.connect(str(bi)) as connection:
        connection.execute(
            "update marts.funnel_steps"
            " set breakdown_value = case when day(period_start) % 2 = 0 then 'even' else 'odd' end"
        )
    found = next(one for one in data(page(bi, tmp_path))["funnels"] if one["name"] == "checkout")["ranges"]["all"]
    assert {group[0] for group in found["breakdown"]} == {"even", "odd"}
    assert sum(group[1] for group in found["breakdown"]) == found["reached_n"][0]


def test_retention_means_take_complete_cells_only(text: str, sample: Path) -> None:
    matrix = data(text)["retention"][0]
    for name, warm in (("mean", ""), ("mean_warm", " and not is_censored")):
        expected = rows(
            sample,
            "select coalesce(sum(retained_n), 0)::bigint, coalesce(sum(cohort_n), 0)::bigint from"
            f" (select * from marts.retention_cells where is_complete{warm})"
            " right join range(9) on period_no = range"
            " group by range order by range",
        )
        assert [tuple(cell[:2]) for cell in matrix[name]] == expected
    waiting = [cell for cohort in matrix["cohorts"] for cell in cohort["cells"] if cell[1] == 0]
    assert waiting
    assert {n for n, *_ in waiting} == {None}


def test_a_year_stays_small(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=10)
    with duckdb.connect(str(bi)) as connection:
        for table, column in (
            ("marts.traffic_daily", "date"),
            ("marts.traffic_totals", "period_start"),
            ("marts.funnel_steps", "period_start"),
            ("marts.journey_edges", "date"),
            ("marts.journey_paths", "date"),
            ("marts.retention_cells", "cohort_start"),
            ("marts.heatmap_elements", "date"),
            ("marts.heatmap_element_cells", "date"),
            ("marts.scroll_reach", "date"),
            ("marts.scroll_pages", "date"),
            ("marts.friction_pages", "date"),
        ):
            connection.execute(
                f"insert into {table} select * exclude (n)"
                f" replace (({column} - to_days(10 * n::integer))::date as {column})"
                f" from {table}, range(1, 37) as ten(n)"
            )
        # fifteen pages in three windows, clicked everywhere: more places than any report can carry
        connection.execute(
            "insert into marts.heatmap_cells"
            " (source, path, date, viewport_band, layer, kind, x_bin, y_bin, event_n, raw_n)"
            " select 'web', '/full/' || page, date '2026-11-20' - (place * 7 % 360)::integer, band, 'page', kind,"
            " place % 100, place // 100 + (hash(page, place, band) % 90)::integer, 1 + place % 7, 1"
            " from range(15) as a(page), range(2500) as b(place),"
            " unnest(['mobile', 'tablet', 'desktop']) as c(band), unnest(['click', 'rage', 'dead', 'move']) as d(kind)"
        )
        connection.execute(
            "insert into marts.friction_pages (source, path, date, view_n)"
            " select 'web', '/full/' || page, date '2026-11-20' - day::integer, 400"
            " from range(15) as a(page), range(360) as b(day)"
        )
        connection.execute(
            "insert into marts.page_outlines (source, path, viewport_band, boxes)"
            " select 'web', '/full/' || page, band, (select to_json(list({"
            " 'selector': 'body > main > div:nth-child(' || box || ') > a.button-of-some-length',"
            " 'x': box % 30 * 40, 'y': box * 5, 'w': 38, 'h': 30})) from range(500) as b(box))"
            " from range(15) as a(page), unnest(['mobile', 'tablet', 'desktop']) as c(band)"
        )
    size = len(page(bi, tmp_path).encode())
    assert size < 5_000_000
    full = [one for one in data((tmp_path / "report.html").read_text())["pages"]["pages"] if "full" in one["path"]]
    assert len(full) > 5
    assert all(
        one["bands"]["tablet"]["heat"]["click"]["all"]["n"] == sum(1 + place % 7 for place in range(2500))
        for one in full
    )
    assert len(data((tmp_path / "report.html").read_text())["overview"]["series"]["(all)"]["day"]["starts"]) == 370
