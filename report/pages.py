"""What people do on the pages: the pages that matter, with heat, reach, elements and friction by range of dates."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from report.heatmap import CELL_COLUMNS, CHOSEN, Page, bounds, by_range, cells, chosen, cut, outlines, tidy
from report.period import Period, Range
from report.published import Published, Row

REACH_COLUMNS = "source path date viewport_band depth_band view_n reached_n attention_ms visible_ms"
ELEMENT_CELL_COLUMNS = "source path date selector el_x_bin el_y_bin event_n"
DEPTH_COLUMNS = "source path date viewport_band known_n depth_p25 depth_p50 depth_p75 depth_p90 is_complete"
ELEMENT_COLUMNS = "source path date selector click_n rage_n dead_n"
SIGNALS = ("rage_n", "dead_n", "quick_back_n", "excessive_scroll_n", "error_n")
FRICTION_COLUMNS = f"source path date view_n {' '.join(SIGNALS)}"
MOST_PAGES = 12
MOST_ELEMENTS = 12
MOST_FRICTION = 30
LONGEST_SELECTOR = 200
LONGEST_TEXT = 60
LONGEST_PATH = 300
DEPTH_BANDS = 20


def read(published: Published, period: Period) -> Row | None:
    """The pages with most views, and the friction of more of them; None where no page says anything yet.

    `pages` has one entry a source and path: `bands[band]` with `outline`, `heat[kind][range]`,
    `reach[range]` and `depths`; `views[range]`, `elements[range]`. `missing` says of each part why it cannot be shown.
    """
    missing = {
        "heat": published.lacks("marts.heatmap_cells", CELL_COLUMNS),
        "reach": published.lacks("marts.scroll_reach", REACH_COLUMNS),
        "depths": published.lacks("marts.scroll_pages", DEPTH_COLUMNS),
        "elements": published.lacks("marts.heatmap_elements", ELEMENT_COLUMNS),
        "element_cells": published.lacks("marts.heatmap_element_cells", ELEMENT_CELL_COLUMNS),
        "friction": published.lacks("marts.friction_pages", FRICTION_COLUMNS),
    }
    pages, page_n = _pages(published, period, missing)
    friction = {} if missing["friction"] else {one.key: _friction(published, one) for one in period.ranges}
    if not pages and not any(signal for rows in friction.values() for row in rows for signal in row[5:]):
        return None
    heat = cells(published, period, pages)
    outlined = outlines(published, pages)
    reached = {} if missing["reach"] else _reach(published, period, pages)
    depths = {} if missing["depths"] else _depths(published, period, pages)
    found = []
    for page in pages:
        bands = {
            band: {
                "outline": outlined.get(page, {}).get(band),
                "heat": heat.get(page, {}).get(band, {}),
                "reach": reached.get(page, {}).get(band, {}),
                "depths": depths.get(page, {}).get(band, []),
            }
            for band in ("mobile", "tablet", "desktop")
        }
        found.append({"source": page[0], "path": cut(page[1], LONGEST_PATH), "bands": bands})
    if not missing["friction"]:
        _put_views(published, period, pages, found)
    if not missing["elements"]:
        _put_elements(published, period, pages, found, has_cells=not missing["element_cells"])
    return {"pages": found, "page_n": page_n, "friction": friction, "missing": missing}


def _pages(published: Published, period: Period, missing: Row) -> tuple[list[Page], int]:
    """The pages with the largest share of the views in any of the ranges, and how many there are to choose from."""
    measured = [
        f"select distinct source, path from {table} where date between $since_all and $until_all and path <> '(none)'"
        for part, table in (("heat", "marts.heatmap_cells"), ("reach", "marts.scroll_reach"))
        if not missing[part]
    ]
    if not measured:
        return [], 0
    table, column = (
        ("marts.friction_pages", "view_n")
        if not missing["friction"]
        else ("marts.heatmap_cells", "event_n")
        if not missing["heat"]
        else ("marts.scroll_reach", "view_n")
    )
    shares = ", ".join(f"n_{one.key} / nullif(sum(n_{one.key}) over (), 0)" for one in period.ranges)
    rows = published.rows(
        f"with measured as ({' union '.join(measured)}),"
        f" views as (select source, path, {by_range(column, period, 'n')} from {table}"
        " where date between $since_all and $until_all group by source, path)"
        " select source, path, count(*) over () as page_n from measured left join views using (source, path)"
        f" order by greatest(0, {shares}) desc, source, path limit $most",
        most=MOST_PAGES,
        **bounds(period),
    )
    return [(row["source"], row["path"]) for row in rows], rows[0]["page_n"] if rows else 0


def _reach(published: Published, period: Period, pages: list[Page]) -> dict[Page, dict[str, dict[str, Row]]]:
    """By page, band and range: `view_n`, and by twentieth of the page `reached`, `attention` and `visible` (ms).

    `reached` is None where no view has a known depth, `attention` and `visible` where no tracker reports them.
    """
    names = ("view_n", "reached_n", "attention_ms", "visible_ms")
    found: dict[Page, dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in published.rows(
        "select source, path, viewport_band, depth_band, "
        + ", ".join(by_range(name, period, name) for name in names)
        + f" from marts.scroll_reach join {CHOSEN} using (source, path)"
        " where date between $since_all and $until_all and depth_band between 0 and 19"
        " group by all order by all",
        **bounds(period),
        **chosen(pages),
    ):
        for choice in period.ranges:
            view_n, *values = (row[f"{name}_{choice.key}"] for name in names)
            if all(value is None for value in (view_n, *values)):
                continue
            ranges = found[row["source"], row["path"]][row["viewport_band"]]
            one = ranges.setdefault(choice.key, {"view_n": 0, "reached": None, "attention": None, "visible": None})
            one["view_n"] = max(one["view_n"], tidy(view_n or 0))
            for name, value in zip(("reached", "attention", "visible"), values, strict=True):
                if value is not None:
                    one[name] = one[name] or [0] * DEPTH_BANDS
                    one[name][row["depth_band"]] = tidy(value)
    for bands in found.values():
        for ranges in bands.values():
            for one in ranges.values():
                one["reached"] = one["reached"] if one["view_n"] else None
    return found


def _depths(published: Published, period: Period, pages: list[Page]) -> dict[Page, dict[str, list[list[int]]]]:
    """By page and band, of each date that is over: [days since the first date, known views, p25, p50, p75, p90].

    Depths are whole percents of the page. Percentiles of several dates do not add up, so they stay by date.
    """
    found: dict[Page, dict[str, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
    quartiles = ", ".join(f"round(100 * depth_p{n})::integer as p{n}" for n in (25, 50, 75, 90))
    for row in published.rows(
        f"select source, path, viewport_band, date - $first as day, known_n, {quartiles}"
        f" from marts.scroll_pages join {CHOSEN} using (source, path)"
        " where date between $first and $last and known_n > 0 and is_complete order by all",
        first=period.first,
        last=period.last,
        **chosen(pages),
    ):
        found[row["source"], row["path"]][row["viewport_band"]].append(
            [row["day"], row["known_n"], *(row[f"p{n}"] for n in (25, 50, 75, 90))]
        )
    return found


def _put_views(published: Published, period: Period, pages: list[Page], found: list[Row]) -> None:
    """`views[range]`: [view_n, rage_n, dead_n] of a page, each signal None where it was never tracked."""
    at = {page: index for index, page in enumerate(pages)}
    names = ("view_n", "rage_n", "dead_n")
    for page in found:
        page["views"] = {}
    for row in published.rows(
        f"select source, path, {', '.join(by_range(name, period, name) for name in names)}"
        f" from marts.friction_pages join {CHOSEN} using (source, path)"
        " where date between $since_all and $until_all group by source, path order by source, path",
        **bounds(period),
        **chosen(pages),
    ):
        for choice in period.ranges:
            counts = [row[f"{name}_{choice.key}"] for name in names]
            if counts[0]:
                found[at[row["source"], row["path"]]]["views"][choice.key] = [
                    None if n is None else tidy(n) for n in counts
                ]


def _put_elements(
    published: Published, period: Period, pages: list[Page], found: list[Row], *, has_cells: bool
) -> None:
    """`selectors` and `elements[range]`: rows [selector, click_n, rage_n, dead_n, text, cells], and their sums.

    `cells` is flat: the tenth of the element's box (row by row, from 0) and the clicks in it.
    """
    text = "null" if published.lacks("marts.heatmap_elements", "text") else "max(text)"
    at = {page: index for index, page in enumerate(pages)}
    texts: list[dict[str, int]] = [{} for _ in pages]
    for page in found:
        page["elements"] = {}
    for choice in period.ranges:
        shown: dict[tuple[str, str, str], list[float]] = {}
        for row in published.rows(
            f"with sums as (select source, path, selector, {text} as text, sum(click_n)::double as click_n,"
            " sum(rage_n)::double as rage_n, sum(dead_n)::double as dead_n"
            f" from marts.heatmap_elements join {CHOSEN} using (source, path)"
            " where date between $since and $until group by source, path, selector)"
            " select *, sum(click_n) over whole as all_click_n, count(*) over whole as element_n from sums"
            " window whole as (partition by source, path)"
            " qualify row_number() over (partition by source, path"
            " order by click_n desc nulls last, coalesce(rage_n, 0) + coalesce(dead_n, 0) desc, selector) <= $most"
            " order by source, path, click_n desc nulls last, coalesce(rage_n, 0) + coalesce(dead_n, 0) desc, selector",
            since=choice.since,
            until=choice.until,
            most=MOST_ELEMENTS,
            **chosen(pages),
        ):
            index = at[row["source"], row["path"]]
            selector = texts[index].setdefault(cut(row["selector"] or "", LONGEST_SELECTOR), len(texts[index]))
            one = found[index]["elements"].setdefault(
                choice.key, {"rows": [], "click_n": tidy(row["all_click_n"] or 0), "element_n": row["element_n"]}
            )
            counts = [None if row[name] is None else tidy(row[name]) for name in ("click_n", "rage_n", "dead_n")]
            said = " ".join((row["text"] or "").split())
            inside = shown.setdefault((row["source"], row["path"], row["selector"]), [])
            one["rows"].append([selector, *counts, cut(said, LONGEST_TEXT), inside])
        if has_cells:
            _put_element_cells(published, choice, shown)
    for page, selectors in zip(found, texts, strict=True):
        page["selectors"] = list(selectors)


def _put_element_cells(published: Published, choice: Range, shown: dict[tuple[str, str, str], list[float]]) -> None:
    for row in published.rows(
        "select source, path, selector, 10 * el_y_bin + el_x_bin as cell, sum(event_n)::double as event_n"
        " from marts.heatmap_element_cells join (select unnest($sources::varchar[]) as source,"
        " unnest($paths::varchar[]) as path, unnest($selectors::varchar[]) as selector) using (source, path, selector)"
        " where date between $since and $until and el_x_bin between 0 and 9 and el_y_bin between 0 and 9"
        " group by all order by all",
        since=choice.since,
        until=choice.until,
        sources=[source for source, _, _ in shown],
        paths=[path for _, path, _ in shown],
        selectors=[selector for _, _, selector in shown],
    ):
        shown[row["source"], row["path"], row["selector"]] += [row["cell"], tidy(row["event_n"])]


def _friction(published: Published, choice: Range) -> list[Any]:
    """Of each source the pages with most views: [source, path, view_n, page_n, all_view_n, *signals].

    A signal is [n, views of the dates on which it was tracked], or None where it never was; `page_n` and `all_view_n`
    are those of all pages of the source.
    """
    sums = ", ".join(
        f"sum({name})::double as {name}, sum(view_n) filter (where {name} is not null)::bigint as {name}_of"
        for name in SIGNALS
    )
    rows = published.rows(
        f"with sums as (select source, path, sum(view_n)::bigint as view_n, {sums} from marts.friction_pages"
        " where date between $since and $until group by source, path)"
        " select *, count(*) over whole as page_n, sum(view_n) over whole::bigint as all_view_n from sums"
        " window whole as (partition by source)"
        " qualify row_number() over (partition by source order by view_n desc, path) <= $most"
        " order by view_n desc, source, path",
        since=choice.since,
        until=choice.until,
        most=MOST_FRICTION,
    )
    return [
        [
            row["source"],
            cut(row["path"], LONGEST_PATH),
            row["view_n"],
            row["page_n"],
            row["all_view_n"],
            *(None if row[name] is None else [tidy(row[name]), row[f"{name}_of"]] for name in SIGNALS),
        ]
        for row in rows
    ]
