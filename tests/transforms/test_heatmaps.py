"""Which cell a click lies in, what lies nowhere, and what is counted once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.transforms.visits import NOON, built, said
from transforms.definitions import Bots, Definitions, Site
from warehouse import Warehouse

CELL = "layer, kind, x_bin, y_bin, event_n, raw_n, session_n"


def click(at_s: float = 1, name: str = "Element Clicked", /, **other: Any) -> dict[str, Any]:
    """A click at 456, 1234 of the page on #buy; keywords of `said` (window, url …) apart from its properties."""
    columns = {key: other.pop(key) for key in ("window", "url", "anonymous_id", "source", "context") if key in other}
    place = {"page_x": 456, "page_y": 1234, "client_x": 456, "client_y": 434, "scroll_x": 0, "scroll_y": 800}
    return said(name, at_s, {**place, "selector": "#buy", "capture": "both", **other}, **columns)


def cells(warehouse: Warehouse, columns: str = CELL) -> list[tuple[Any, ...]]:
    return warehouse.execute(f"select {columns} from marts.heatmap_cells order by all")


def pages(warehouse: Warehouse, columns: str) -> list[tuple[Any, ...]]:
    return warehouse.execute(f"select {columns} from marts.heatmap_pages order by all")


def test_a_click_lies_in_a_hundredth_of_the_width_and_sixteen_pixels_of_the_height() -> None:
    # 100 · 456 / 1000 = 45.6; 1234 / 16 = 77.1
    warehouse = built(said("page", 0), click())
    assert cells(warehouse) == [("page", "click", 45, 77, 1, 1, 1)]
    assert cells(warehouse, "source, path, cast(date as varchar), viewport_band") == [
        ("web", "/", "2026-05-04", "tablet")
    ]


def test_edges_of_cells() -> None:
    places = [(0, 0), (9.99, 15.9), (10, 16), (999, 31.9), (1000, 32), (5000, 1_000_000)]
    warehouse = built(*(click(page_x=x, page_y=y) for x, y in places))
    assert cells(warehouse, "x_bin, y_bin, raw_n") == [(0, 0, 2), (1, 1, 1), (99, 1, 1), (99, 2, 1), (99, 62_500, 1)]


def test_a_page_place_follows_from_window_and_scroll_where_it_is_not_said() -> None:
    # 456 + 100 and 434 + 800
    assert cells(built(click(page_x=None, page_y=None, scroll_x=100)), "x_bin, y_bin") == [(55, 77)]


def test_what_is_fixed_lies_in_its_own_layer_where_the_window_has_it() -> None:
    # 434 / 16 = 27.1
    assert cells(built(click(target_fixed=True)), "layer, x_bin, y_bin") == [("fixed", 45, 27)]


def test_the_band_is_that_of_the_window() -> None:
    warehouse = built(*(click(window={"viewport_w": width}) for width in (320, 767, 768, 1023, 1024)))
    assert pages(warehouse, "viewport_band, raw_n") == [("desktop", 1), ("mobile", 2), ("tablet", 2)]


BROKEN: dict[str, dict[str, Any]] = {
    "left of the page": {"page_x": -1},
    "above it": {"page_y": -0.5},
    "no number": {"page_x": "NaN"},
    "endless": {"page_y": "Infinity"},
    "huge": {"page_x": 1e300},
    "below the last pixel": {"page_y": 33_554_433},
    "nothing": {"page_x": None, "client_x": None},
    "no width": {"window": {"viewport_w": 0}},
    "no height": {"window": {"viewport_h": 0}},
    "no window": {"window": {"viewport_w": None}},
    "a negative window": {"window": {"viewport_w": -5}},
    "a wide window": {"window": {"viewport_w": "wide"}},
}


def test_coordinates_that_cannot_be_are_counted_and_in_no_cell() -> None:
    broken = (click(url=f"/{name}".replace(" ", "-"), **how) for name, how in BROKEN.items())
    warehouse = built(click(), *broken)
    assert cells(warehouse, "path, x_bin, y_bin, raw_n") == [("/", 45, 77, 1)]
    counted = warehouse.execute(
        "select path, sum(raw_n), sum(invalid_n), sum(unplaced_n) from marts.heatmap_pages group by path order by path"
    )
    assert counted == [("/", 1, 0, 0), *sorted((f"/{name}".replace(" ", "-"), 0, 1, 0) for name in BROKEN)]


def test_a_click_from_the_keyboard_has_no_place_and_is_not_invalid() -> None:
    warehouse = built(said("Element Clicked", 1, {"selector": "#buy", "capture": "element"}))
    assert cells(warehouse) == []
    assert pages(warehouse, "raw_n, unplaced_n, invalid_n") == [(0, 1, 0)]
    assert warehouse.execute("select selector, click_n, rage_n from marts.heatmap_elements") == [("#buy", 1, None)]


def test_a_sample_counts_for_those_that_were_left_out() -> None:
    warehouse = built(click(1, sample_rate=0.25), click(2), click(3, sample_rate=0), click(4, sample_rate="1e-30"))
    assert cells(warehouse, "event_n, raw_n, session_n") == [(7, 4, 1)]


def test_moves_rage_and_dead_clicks_are_their_own_kinds() -> None:
    points = {
        "points": [{"page_x": 5, "page_y": 5}, {"page_x": 5, "page_y": 5, "target_fixed": True}],
        "sample_rate": 0.1,
    }
    warehouse = built(click(), said("Pointer Moved", 2, points), click(3, "Rage Clicked"), click(4, "Dead Clicked"))
    assert cells(warehouse, "layer, kind, x_bin, y_bin, event_n, raw_n") == [
        ("fixed", "move", 0, 0, 10, 1),
        ("page", "click", 45, 77, 1, 1),
        ("page", "dead", 45, 77, 1, 1),
        ("page", "move", 0, 0, 10, 1),
        ("page", "rage", 45, 77, 1, 1),
    ]


def test_sessions_are_counted_once_a_cell() -> None:
    warehouse = built(click(0), click(1), click(7200), click(3, anonymous_id="other"), click(4, anonymous_id=None))
    assert cells(warehouse, "raw_n, session_n") == [(5, 3)]


def test_programs_are_left_out() -> None:
    bot = {"context": json.dumps({"ua": "Googlebot/2.1 (+http://www.google.com/bot.html)", "viewport_w": 1000})}
    warehouse = built(click(**bot), said("Page Outlined", 2, {"boxes": [{"x": 1, "y": 1, "w": 1, "h": 1}]}, **bot))
    for table in ("heatmap_cells", "heatmap_pages", "heatmap_elements", "heatmap_element_cells", "page_outlines"):
        assert warehouse.value(f"select count(*) from marts.{table}") == 0, table


def test_a_device_with_more_clicks_than_a_person_has_is_left_out() -> None:
    clicks = [click(number * 4) for number in range(12)]
    assert cells(built(*clicks, definitions=Definitions(bots=Bots(max_day=12))), "raw_n") == [(12,)]
    assert cells(built(*clicks, definitions=Definitions(bots=Bots(max_day=11))), "raw_n") == []


def test_the_fold_is_the_lower_edge_of_the_window() -> None:
    warehouse = built(click(page_y=799), click(2, page_y=800), click(3, page_y=3000), click(4, target_fixed=True))
    assert pages(warehouse, "event_n, below_fold_n, below_fold_pct") == [(4, 2, 0.5)]


def test_a_point_counts_only_where_the_source_sends_no_elements() -> None:
    point = {"capture": "point", "selector": None}
    warehouse = built(click(), click(2, **point), *(click(at_s, source="app", **point) for at_s in (1, 2)))
    assert warehouse.execute("select source, selector, click_n, raw_n from marts.heatmap_elements order by all") == [
        ("app", "(none)", 2, 2),
        ("web", "#buy", 1, 1),
    ]
    assert cells(warehouse, "source, raw_n") == [("app", 2), ("web", 2)]


def test_the_element_map_has_ten_by_ten_fields() -> None:
    warehouse = built(
        click(1, el_x=0, el_y=0.999),
        click(2, el_x=1, el_y=1),
        click(3, el_x=0.95, el_y=1),
        click(4, el_x=None, el_y=None),
        click(5, el_x=1.5, el_y=0.5),
        click(6, el_x=-0.1, el_y=0.5),
    )
    assert warehouse.execute(
        "select selector, el_x_bin, el_y_bin, event_n from marts.heatmap_element_cells order by all"
    ) == [("#buy", 0, 9, 1), ("#buy", 9, 9, 2)]
    assert warehouse.value("select click_n from marts.heatmap_elements") == 6


def test_a_selector_is_cut_and_hostile_text_stays_text() -> None:
    warehouse = built(click(selector="a" * 250_000, text="<img src=x onerror=alert(1)>" * 9))
    selector, text = warehouse.execute("select selector, text from marts.heatmap_elements")[0]
    assert selector == "a" * 500
    assert len(text) == 100


def test_a_date_is_local() -> None:
    definitions = Definitions(site=Site(timezone="Asia/Tokyo"))
    warehouse = built(click(3 * 3600 - 1), click(3 * 3600), definitions=definitions)
    assert cells(warehouse, "cast(date as varchar), raw_n") == [("2026-05-04", 1), ("2026-05-05", 1)]


def test_the_latest_outline_is_the_ground_that_a_heatmap_lies_on() -> None:
    old = {"selector": "h1", "x": 0, "y": 0, "w": 9, "h": 9}
    new = {"selector": "h1", "x": 1, "y": 2, "w": 3, "h": 4, "is_fixed": False}
    bar = {"selector": "nav", "x": 0, "y": 0, "w": 9, "h": 1, "is_fixed": True}
    broken = [
        {"selector": "a", "x": "NaN", "y": 0, "w": 1, "h": 1},
        {"selector": "b", "x": -1, "y": 0, "w": 1, "h": 1},
        7,
    ]
    phone = {"viewport_w": 390}
    warehouse = built(
        said("Page Outlined", 0, {"boxes": [old]}),
        said("Page Outlined", 86_400, {"boxes": [new, bar, *broken]}),
        said("Page Outlined", 5, {"boxes": [old]}, window=phone),
        at=NOON + timedelta(days=3),
    )
    found = warehouse.execute("select viewport_band, document_h, box_n, boxes from marts.page_outlines order by all")
    assert [row[:3] for row in found] == [("mobile", 4000, 1), ("tablet", 4000, 2)]
    assert json.loads(found[0][3]) == [old | {"is_fixed": False}]
    assert json.loads(found[1][3]) == [new, bar]
    # One that happened before and comes later changes nothing.
    built(said("Page Outlined", 3600, {"boxes": [old]}), into=warehouse, at=NOON + timedelta(days=3, hours=2))
    assert json.loads(warehouse.value("select boxes from marts.page_outlines where viewport_band = 'tablet'")) == [
        new,
        bar,
    ]
