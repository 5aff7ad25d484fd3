"""What people do on the pages: the report carries what was published, packed, and says what it left out."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from report.heatmap import label, packed
from report.page import write

NOW = datetime(2026, 11, 21, 15, 0)
SINCE = {"7": "2026-11-14", "28": "2026-10-24", "all": "2026-09-13"}


def pages(bi: Path, folder: Path) -> Any:
    write(bi, folder / "report.html", now=NOW)
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])["pages"]


def rows(bi: Path, sql: str, **values: object) -> list[Any]:
    with duckdb.connect(str(bi), read_only=True) as connection:
        return connection.execute(sql, values).fetchall() if values else connection.execute(sql).fetchall()


def unpacked(layer: Any) -> dict[tuple[int, int], float]:
    """Cells by (x, y) of their squares."""
    wide = -(-100 // layer["size"])
    at, found = -1, {}
    for step, n in zip(layer["cells"][::2], layer["cells"][1::2], strict=True):
        at += step
        found[at % wide, at // wide] = n
    return found


@pytest.fixture(scope="module")
def found(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return pages(sample, tmp_path_factory.mktemp("pages"))


def of(found: Any, path: str) -> Any:
    return next(page for page in found["pages"] if page["path"] == path)


@pytest.mark.parametrize("key", SINCE)
@pytest.mark.parametrize("kind", ["click", "rage"])
def test_cells_are_the_published_ones(found: Any, sample: Path, key: str, kind: str) -> None:
    heat = of(found, "/product/:id")["bands"]["mobile"]["heat"][kind].get(key)
    for layer in ("page", "fixed"):
        expected = {
            (x, y): n
            for x, y, n in rows(
                sample,
                "select x_bin, y_bin, sum(event_n) from marts.heatmap_cells where path = '/product/:id'"
                " and viewport_band = 'mobile' and layer = $layer and kind = $kind"
                " and date between $since and '2026-11-20' group by all",
                layer=layer,
                kind=kind,
                since=SINCE[key],
            )
        }
        if not expected:
            assert heat is None or heat[layer] is None
        elif heat[layer]["size"] == 1:
            assert unpacked(heat[layer]) == expected
        assert sum(expected.values()) == (heat[layer]["n"] if heat and heat[layer] else 0)


def test_squares_grow_until_they_fit_and_lose_nothing() -> None:
    chance = random.Random(4)
    points = [(chance.randrange(100), chance.randrange(900), chance.randrange(1, 4) / 2) for _ in range(6000)]
    layer = packed(points, 500)
    assert layer
    assert layer["size"] == 16
    assert sum(unpacked(layer).values()) == pytest.approx(sum(n for *_, n in points))
    assert packed(points[:400], 500) is not None
    assert packed([], 500) is None
    assert unpacked(packed([(99, 7, 2.0), (0, 0, 1.0)], 500)) == {(0, 0): 1, (99, 7): 2}
    assert set(unpacked(packed([(99, 7, 2.0), (98, 6, 1.0), (0, 0, 1.0)], 2))) == {(49, 3), (0, 0)}


def test_what_lies_too_deep_to_draw_is_counted(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=3)
    with duckdb.connect(str(bi)) as connection:
        connection.execute("delete from marts.heatmap_cells")
        connection.execute(
            "insert into marts.heatmap_cells"
            " (source, path, date, viewport_band, layer, kind, x_bin, y_bin, event_n, raw_n) select"
            " 'web', '/cart', '2026-11-20', 'mobile', 'page', 'click', 5, unnest([3, 62500]), 2.5, 1"
        )
    heat = of(pages(bi, tmp_path), "/cart")["bands"]["mobile"]["heat"]["click"]["all"]
    assert (heat["n"], heat["raw_n"], heat["below_n"]) == (5, 2, 2.5)
    assert unpacked(heat["page"]) == {(5, 3): 2.5}


def test_not_tracked_is_not_zero(found: Any) -> None:
    friction = {(row[0], row[1]): row for row in found["friction"]["28"]}
    assert friction["app", "/start"][5:] == [None, None, [28, 1120], None, None]
    *_, scroll, error = friction["web", "/cart"]
    assert error is None
    assert scroll[0] >= 0
    assert of(found, "/cart")["views"]["28"][1] is not None


def test_friction_is_the_published_sum_of_the_tracked_dates(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=9)
    with duckdb.connect(str(bi)) as connection:
        connection.execute("update marts.friction_pages set rage_n = null where date < '2026-11-18'")
    friction = {row[1]: row for row in pages(bi, tmp_path)["friction"]["7"]}
    ((views, tracked, rage),) = rows(
        bi,
        "select sum(view_n)::bigint, (sum(view_n) filter (where rage_n is not null))::bigint, sum(rage_n)::bigint"
        " from marts.friction_pages where path = '/' and date between '2026-11-14' and '2026-11-20'",
    )
    assert friction["/"][2] == views
    assert friction["/"][5] == [rage, tracked]
    assert tracked < views


def test_reach_is_the_published_sum(found: Any, sample: Path) -> None:
    reach = of(found, "/")["bands"]["desktop"]["reach"]["28"]
    expected = rows(
        sample,
        "select sum(view_n)::bigint, sum(reached_n)::bigint, sum(attention_ms)::bigint, sum(visible_ms)::bigint"
        " from marts.scroll_reach where path = '/' and viewport_band = 'desktop'"
        " and date between '2026-10-24' and '2026-11-20' group by depth_band order by depth_band",
    )
    assert list(zip(reach["reached"], reach["attention"], reach["visible"], strict=True)) == [
        row[1:] for row in expected
    ]
    assert reach["view_n"] == expected[0][0]


def test_depth_and_attention_may_each_be_unknown(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=9)
    with duckdb.connect(str(bi)) as connection:
        connection.execute("update marts.scroll_reach set attention_ms = null, visible_ms = null where path = '/'")
        connection.execute("update marts.scroll_reach set view_n = 0, reached_n = 0 where path = '/cart'")
    found = pages(bi, tmp_path)
    home, cart = (of(found, path)["bands"]["mobile"]["reach"]["7"] for path in ("/", "/cart"))
    assert (home["attention"], home["visible"]) == (None, None)
    assert home["reached"][0] == home["view_n"] > 0
    assert cart["reached"] is None
    assert sum(cart["attention"]) > 0


def test_elements_are_the_most_clicked(found: Any, sample: Path) -> None:
    page = of(found, "/category/shoes")
    expected = rows(
        sample,
        "select selector, sum(click_n), sum(rage_n), sum(dead_n) from marts.heatmap_elements"
        " where path = '/category/shoes' and date between '2026-10-24' and '2026-11-20' group by selector"
        " order by 2 desc, coalesce(sum(rage_n), 0) + coalesce(sum(dead_n), 0) desc, selector",
    )
    shown = page["elements"]["28"]
    assert [(page["selectors"][at], *counts) for at, *counts, _, _ in shown["rows"]] == expected[:12]
    assert shown["click_n"] == sum(row[1] for row in expected)
    assert shown["element_n"] == len(expected)


def test_the_map_of_an_element_is_the_published_one(found: Any, sample: Path) -> None:
    page = of(found, "/product/:id")
    for at, *_, inside in page["elements"]["28"]["rows"]:
        expected = rows(
            sample,
            "select 10 * el_y_bin + el_x_bin, sum(event_n) from marts.heatmap_element_cells where path = '/product/:id'"
            " and selector = $selector and date between '2026-10-24' and '2026-11-20' group by all order by all",
            selector=page["selectors"][at],
        )
        assert list(zip(inside[::2], inside[1::2], strict=True)) == expected != []


def test_depths_are_the_published_ones_of_dates_that_are_over(found: Any, sample: Path) -> None:
    expected = rows(
        sample,
        "select date - date '2026-09-13', known_n, round(100 * depth_p25), round(100 * depth_p50),"
        " round(100 * depth_p75), round(100 * depth_p90) from marts.scroll_pages"
        " where path = '/cart' and viewport_band = 'tablet' and date < '2026-11-21' order by date",
    )
    assert [tuple(row) for row in of(found, "/cart")["bands"]["tablet"]["depths"]] == expected
    assert len(expected) == 69


def test_only_the_pages_that_matter_are_carried(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=30)
    with duckdb.connect(str(bi)) as connection:
        connection.execute(
            "insert into marts.heatmap_cells select one.* replace ('/rare/' || n as path)"
            " from (from marts.heatmap_cells where path = '/' limit 1) as one, range(30) as r(n)"
        )
        connection.execute(
            "insert into marts.friction_pages (source, path, date, view_n)"
            " select 'web', '/rare/' || n, '2026-10-30', n from range(30) as r(n)"
        )
        connection.execute(
            "insert into marts.friction_pages (source, path, date, view_n) values"
            " ('web', '/new', '2026-11-20', 90), ('web', '(none)', '2026-11-20', 9000)"
        )
        connection.execute(
            "insert into marts.heatmap_cells select one.* replace (name as path, date '2026-11-20' as date)"
            " from (from marts.heatmap_cells where path = '/' limit 1) as one, unnest(['/new', '(none)']) as r(name)"
        )
    found = pages(bi, tmp_path)
    paths = [page["path"] for page in found["pages"]]
    assert len(paths) == 12
    assert found["page_n"] == 38
    # new this week, so small in the whole time
    assert "/new" in paths
    assert "/rare/29" in paths
    assert "/rare/0" not in paths
    assert "(none)" not in paths


def test_an_outline_may_be_anything(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=3)
    boxes = [
        {"selector": "main > a", "x": 0, "y": 0, "w": 100, "h": 50},
        {"selector": "main > a > b", "x": 0, "y": 0, "w": 100, "h": 50},
        {"selector": "bar", "x": 0, "y": 0, "w": 100, "h": 50, "is_fixed": True},
        {"selector": "odd", "x": 5, "y": 0, "w": 90, "h": 50, "is_fixed": "yes"},
        {"selector": "x" * 2000, "x": 0, "y": 60, "w": 390, "h": 90.4},
        {"selector": "far", "x": 0, "y": 1e6, "w": 10, "h": 10},
        {"selector": "thin", "x": 0, "y": 0, "w": 1, "h": 10},
        {"selector": "wide", "x": 0, "y": 0, "w": 1e300, "h": 10},
        {"selector": 7, "x": 0, "y": 0, "w": 10, "h": 10},
        {"x": None},
        "text",
    ]
    with duckdb.connect(str(bi)) as connection:
        connection.execute(
            "update marts.page_outlines set boxes = $boxes, viewport_h = null, document_h = null where path = '/'",
            {"boxes": json.dumps(boxes)},
        )
        connection.execute("update marts.page_outlines set boxes = '{}' where path = '/cart'")
    found = pages(bi, tmp_path)
    outline = of(found, "/")["bands"]["mobile"]["outline"]
    drawn = [("x" * 47 + "…", False), ("b", False), ("bar", True), ("odd", False)]
    assert [(box[0], box[5]) for box in outline["boxes"]] == drawn
    assert (outline["width"], outline["height"], outline["fold"]) == (390, 150, None)
    assert of(found, "/cart")["bands"]["mobile"]["outline"] is None
    assert label("body > main#top") == "main#top"
    assert label("nav#menu>a:nth-of-type(5)") == "a"


def test_without_such_events_it_says_what_to_do(sample_of: Callable[..., Path], tmp_path: Path) -> None:
    bi = sample_of(days=3)
    with duckdb.connect(str(bi)) as connection:
        for table in ("heatmap_cells", "heatmap_elements", "scroll_reach", "friction_pages", "page_outlines"):
            connection.execute(f"delete from marts.{table}")
    assert re.fullmatch(r"marts\.heatmap_cells has no rows yet: put footfall\.js .*\.", pages(bi, tmp_path)["empty"])


@pytest.mark.parametrize(
    "table",
    ["heatmap_elements", "heatmap_element_cells", "scroll_reach", "scroll_pages", "friction_pages", "page_outlines"],
)
def test_a_missing_table_costs_its_part_only(sample_of: Callable[..., Path], tmp_path: Path, table: str) -> None:
    bi = sample_of(days=3)
    with duckdb.connect(str(bi)) as connection:
        connection.execute(f"drop table marts.{table}")
    found = pages(bi, tmp_path)
    assert of(found, "/")["bands"]["mobile"]["heat"]["click"]["all"]["n"] > 0
    assert sum(f"marts.{table}" in (why or "") for why in found["missing"].values()) == (table != "page_outlines")
