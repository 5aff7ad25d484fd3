"""How far a page view got, and over which bands of the page its milliseconds go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.transforms.visits import NOON, built, said
from warehouse import Warehouse


def reach(warehouse: Warehouse, path: str = "/") -> list[int]:
    """Of each band the page views that reached it."""
    rows = warehouse.execute(
        "select reached_n from marts.scroll_reach where path = $path order by depth_band", {"path": path}
    )
    return [row[0] for row in rows]


def band_ms(warehouse: Warehouse, column: str, path: str = "/") -> list[float]:
    query = f"select {column} from marts.scroll_reach where path = $path order by depth_band"
    return [row[0] for row in warehouse.execute(query, {"path": path})]


def page(warehouse: Warehouse, columns: str, path: str = "/") -> tuple[Any, ...]:
    (row,) = warehouse.execute(f"select {columns} from marts.scroll_pages where path = $path", {"path": path})
    found: tuple[Any, ...] = row
    return found


def engaged(at_s: float, ms: float, *glances: tuple[Any, Any], **other: Any) -> dict[str, Any]:
    intervals = [{"scroll_y": scroll_y, "ms": part} for scroll_y, part in glances]
    return said("Engaged", at_s, {"engaged_ms": ms, "intervals": intervals}, **other)


def views_of(depths: list[Any]) -> list[dict[str, Any]]:
    """One visit that sees a page again and again, each time so far (in hundredths; None: it does not say)."""
    events = []
    for number, depth in enumerate(depths):
        events.append(said("page", number * 60))
        if depth is not None:
            events.append(said("Scroll Reached", number * 60 + 30, {"scroll_max_pct": depth}))
    return events


def test_a_band_is_reached_by_what_went_beyond_its_top() -> None:
    # 100 reaches all 20, 50 the first ten, 50.1 eleven, 5 and 0 only the first.
    warehouse = built(*views_of([100, 50, 50.1, 5, 0, None]))
    assert reach(warehouse) == [5, *[3] * 9, 2, *[1] * 9]
    assert page(warehouse, "view_n, known_n, unknown_n") == (6, 5, 1)
    assert warehouse.value("select reached_pct from marts.scroll_reach where depth_band = 10") == 0.4


def test_quantiles_of_depth_lie_between_the_page_views() -> None:
    # Of 0, .2, .4, .8, 1 the ranks 1, 2, 3 and 3.6.
    found = page(built(*views_of([20, 0, 100, 40, 80])), "depth_p25, depth_p50, depth_p75, depth_p90")
    assert found == pytest.approx((0.2, 0.4, 0.8, 0.92))


def test_the_farthest_of_all_reports_counts_and_the_impossible_do_not() -> None:
    warehouse = built(
        said("page", 0),
        said("Scroll Reached", 1, {"scroll_max_pct": 30}),
        said("Engaged", 2, {"engaged_ms": 100, "scroll_max_pct": 70}),
        said("Scroll Reached", 3, {"scroll_max_pct": 40}),
        said("Scroll Reached", 4, {"scroll_max_pct": -7}),
        said("Scroll Reached", 5, {"scroll_max_pct": "NaN"}),
        said("page", 10, url="/beyond"),
        said("Scroll Reached", 11, {"scroll_max_pct": 250}, url="/beyond"),
    )
    assert page(warehouse, "depth_p50, invalid_n") == (0.7, 2)
    assert page(warehouse, "depth_p50, invalid_n", "/beyond") == (1, 0)


def test_without_a_share_depth_is_the_lowest_line_that_was_in_the_window() -> None:
    # (1200 + 800) / 4000; on the second page the height grows while it loads.
    warehouse = built(
        said("page", 0),
        engaged(5, 1000, (0, 500), (1200, 500)),
        said("page", 10, url="/long", window={"document_h": 1000}),
        said("Element Clicked", 12, {"scroll_y": 200}, url="/long", window={"document_h": 10_000}),
        said("page", 20, url="/short", window={"document_h": 800}),
        said("page", 30, url="/unknown", window={"document_h": None}),
        engaged(35, 1000, (0, 1000), url="/unknown", window={"document_h": None}),
        said("page", 40, url="/silent"),
    )
    assert page(warehouse, "depth_p50") == (0.5,)
    assert page(warehouse, "depth_p50", "/long") == (0.1,)
    assert page(warehouse, "depth_p50, known_n", "/short") == (1, 1)
    assert page(warehouse, "depth_p50, unknown_n, unplaced_ms", "/unknown") == (None, 1, 1000)
    assert page(warehouse, "depth_p50, unknown_n", "/silent") == (None, 1)


def test_attention_goes_to_the_bands_in_view_by_their_height() -> None:
    # A band is 200 px. 0 to 800: four bands, 1000 ms each; 100 to 900: half of band 0, bands 1 to 3, half of band 4.
    warehouse = built(said("page", 0), engaged(60, 12_000, (0, 4000), (100, 8000)))
    assert band_ms(warehouse, "attention_ms") == pytest.approx([2000, 3000, 3000, 3000, 1000, *[0] * 15])
    assert band_ms(warehouse, "visible_ms") == [12_000, 12_000, 12_000, 12_000, 8000, *[0] * 15]
    assert page(warehouse, "engaged_visible_ms, unplaced_ms, clipped_n") == (12_000, 0, 0)


def test_a_window_beyond_the_end_of_the_page_sees_what_is_left_of_it() -> None:
    # 3800 to 4600 of 4000: the last band alone. A page shorter than the window: all its bands alike.
    warehouse = built(
        said("page", 0),
        engaged(60, 1000, (3800, 1000)),
        said("page", 100, url="/short", window={"document_h": 400}),
        engaged(160, 1000, (0, 1000), url="/short", window={"document_h": 400}),
    )
    assert band_ms(warehouse, "attention_ms") == [*[0] * 19, 1000]
    assert band_ms(warehouse, "attention_ms", "/short") == pytest.approx([50] * 20)


def test_what_cannot_be_placed_is_kept_apart() -> None:
    warehouse = built(
        said("page", 0),
        engaged(60, 10_000, (0, 4000), (-5, 1000), (9000, 500), (None, 250), (0, "NaN"), (0, -3)),
    )
    # 4000 ms lie in four bands; of the rest it is not known where; four values cannot be.
    assert sum(band_ms(warehouse, "attention_ms")) == 4000
    assert page(warehouse, "engaged_visible_ms, unplaced_ms, invalid_n") == (10_000, 6000, 4)


def test_a_report_cannot_be_longer_than_the_time_since_the_last_one() -> None:
    # 5 s pass until the first report and 2 s until the second.
    warehouse = built(
        said("page", 0),
        engaged(5, 9000, (0, 4500), (800, 4500)),
        engaged(7, 2000, (800, 2000)),
    )
    assert page(warehouse, "engaged_visible_ms, clipped_n, unplaced_ms") == (7000, 1, 0)
    assert band_ms(warehouse, "attention_ms") == pytest.approx([625] * 4 + [1125] * 4 + [0] * 12)
    assert warehouse.value("select engaged_visible_ms from core.sessions") == 7000


def test_attention_is_not_known_where_the_tracker_does_not_say() -> None:
    warehouse = built(*views_of([50]))
    assert set(band_ms(warehouse, "attention_ms")) == {None}
    assert page(warehouse, "engaged_visible_ms, unplaced_ms") == (None, None)


def test_a_page_view_over_midnight_counts_on_the_date_on_which_it_began() -> None:
    late = 12 * 3600 - 10
    warehouse = built(said("page", late), said("Scroll Reached", late + 60, {"scroll_max_pct": 80}), at=NOON)
    assert warehouse.execute("select cast(date as varchar), depth_p50 from marts.scroll_pages") == [("2026-05-04", 0.8)]
    built(said("Scroll Reached", late + 90, {"scroll_max_pct": 90}), into=warehouse)
    assert warehouse.execute("select cast(date as varchar), depth_p50 from marts.scroll_pages") == [("2026-05-04", 0.9)]


def test_the_clients_own_page_views_are_kept_apart() -> None:
    one, two = {"page_view_id": "one"}, {"page_view_id": "two"}
    warehouse = built(
        said("page", 0, **one),
        said("page", 1, url="/next", **two),
        said("Scroll Reached", 2, {"scroll_max_pct": 60}, **one),
        said("Scroll Reached", 3, {"scroll_max_pct": 20}, url="/next", **two),
    )
    assert page(warehouse, "depth_p50") == (0.6,)
    assert page(warehouse, "depth_p50", "/next") == (0.2,)
