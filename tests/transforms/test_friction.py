"""Where visitors get stuck: what is found, what is believed, and what nobody can know."""

from __future__ import annotations

from typing import Any

from tests.transforms.visits import built, said
from transforms.definitions import Definitions, Friction
from warehouse import Warehouse

COUNTS = "rage_n, dead_n, quick_back_n, excessive_scroll_n, error_n"
OURS = {"window": {"library": {"name": "footfall.js"}}}


def click(at_s: float, x: float = 100, y: float = 100, name: str = "Element Clicked", **other: Any) -> dict[str, Any]:
    columns = {key: other.pop(key) for key in ("window", "url", "anonymous_id", "source") if key in other}
    place = {"page_x": x, "page_y": y, "client_x": x, "client_y": y, "selector": "#buy", "capture": "both"}
    return said(name, at_s, {**place, **other}, **columns)


def pages(warehouse: Warehouse, columns: str = COUNTS) -> list[tuple[Any, ...]]:
    return warehouse.execute(f"select {columns} from marts.friction_pages order by all")


def test_rage_is_found_in_the_clicks_of_a_client_that_does_not_tell_of_it() -> None:
    bursts = [
        *[click(at_s) for at_s in (10, 10.9, 11.8, 12.7)],  # one chain of four: one burst
        *[click(at_s) for at_s in (20, 20.5)],  # too few
        *[click(at_s) for at_s in (30, 31, 32)],  # a whole second is too slow
        *[click(at_s, x) for at_s, x in ((40, 100), (40.2, 115), (40.4, 129))],  # 15 and 14 px away
        *[click(at_s, x, y) for at_s, x, y in ((50, 100, 100), (50.2, 115, 115), (50.4, 100, 100))],  # 30 px
    ]
    warehouse = built(said("page", 0), *bursts)
    assert pages(warehouse, "view_n, rage_n, dead_n") == [(1, 2, None)]
    assert warehouse.execute("select click_n, rage_n from marts.heatmap_elements") == [(15, 2)]


def test_a_burst_ends_with_its_page_view() -> None:
    clicks = (click(1), click(1.2), click(1.6, url="/next"))
    assert pages(built(said("page", 0), *clicks[:2], said("page", 1.4, url="/next"), clicks[2]), "rage_n") == [
        (0,),
        (0,),
    ]


def test_a_client_that_tells_of_rage_is_believed() -> None:
    clicks = [click(at_s, **OURS) for at_s in (1, 1.2, 1.4, 9, 9.2, 9.4)]
    silent = built(said("page", 0, **OURS), *clicks)
    assert pages(silent) == [(0, 0, 0, 0, 0)]
    told = built(
        said("page", 0),
        *[click(at_s) for at_s in (1, 1.2, 1.4, 9, 9.2, 9.4)],
        click(1.4, name="Rage Clicked", click_n=3),
        click(1.4, name="Rage Clicked", capture="point"),
        click(3, name="Dead Clicked", delay_ms=2500),
    )
    assert pages(told, "rage_n, dead_n") == [(1, 1)]
    assert told.execute("select click_n, rage_n, dead_n from marts.heatmap_elements") == [(6, 1, 1)]


def test_without_places_of_clicks_rage_is_not_known() -> None:
    elements = [said("Element Clicked", at_s, {"selector": "#buy"}) for at_s in (1, 1.1, 1.2)]
    assert pages(built(said("page", 0), *elements)) == [(None, None, 0, None, None)]


def test_a_page_that_is_left_at_once_for_the_one_before() -> None:
    def walk(*steps: tuple[float, str]) -> list[dict[str, Any]]:
        return [said("page", at_s, url=path) for at_s, path in steps]

    quick = walk((0, "/a"), (10, "/b"), (14.9, "/a"))
    slow = walk((100, "/a"), (110, "/c"), (115, "/a"))
    on = walk((200, "/a"), (210, "/d"), (211, "/e"))
    again = walk((300, "/a"), (310, "/a"), (311, "/a"))
    found = pages(built(*quick, *slow, *on, *again), "path, view_n, quick_back_n")
    assert found == [("/a", 8, 0), ("/b", 1, 1), ("/c", 1, 0), ("/d", 1, 0), ("/e", 1, 0)]


def test_scrolling_to_and_fro() -> None:
    scrolled = [(0, 7), (60, 8), (120, 3), (180, None)]
    events = [said("page", at_s) for at_s, _ in scrolled] + [
        said("Scroll Reached", at_s + number, {"scroll_max_pct": 50, "scroll_reversals": n})
        for at_s, n in scrolled
        for number in (1, 2)  # the second report of a page view is of the same reversals
        if n is not None
    ]
    assert pages(built(*events), "view_n, excessive_scroll_n") == [(4, 1)]


def test_an_error_counts_once_a_page_view_and_message() -> None:
    def error(at_s: float, message: str, **other: Any) -> dict[str, Any]:
        return said("Error Raised", at_s, {"message": message}, **other)

    warehouse = built(
        said("page", 0),
        *(error(at_s, f"row {at_s} is gone") for at_s in (1, 2, 3)),
        error(4, "another"),
        said("page", 60),
        error(61, "row 1 is gone"),
        error(62, "no device", anonymous_id=None),
        error(63, "no device", anonymous_id=None),
    )
    assert pages(warehouse, "view_n, error_n") == [(2, 5)]


def test_each_date_and_source_says_for_itself_what_it_knows() -> None:
    day = 86_400
    warehouse = built(
        said("page", 0, **OURS),
        said("page", 0, source="app"),
        said("page", day),
        click(day + 5),
        at=said("page", 2 * day)["occurred_at"],
    )
    assert pages(warehouse, f"source, cast(date as varchar), {COUNTS}") == [
        ("app", "2026-05-04", None, None, 0, None, None),
        ("web", "2026-05-04", 0, 0, 0, 0, 0),
        ("web", "2026-05-05", 0, None, 0, None, None),
    ]


def test_limits_are_those_of_the_definitions() -> None:
    events = [said("page", 0), *[click(at_s) for at_s in (1, 2.5)], said("page", 9, url="/b"), said("page", 16)]
    plain = built(*events)
    assert pages(plain, "path, rage_n, quick_back_n") == [("/", 0, 0), ("/b", 0, 0)]
    wide = Friction(n=2, within_us=2_000_000, quick_back_us=10_000_000)
    built(into=plain, definitions=Definitions(friction=wide))
    assert pages(plain, "path, rage_n, quick_back_n") == [("/", 1, 0), ("/b", 0, 1)]
