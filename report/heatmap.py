"""Where on a page something happened: cells packed into short lists of integers, and the page's outline."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from math import isfinite
from typing import Any

from report.period import Period
from report.published import Published, Row

Page = tuple[str, str]
Box = tuple[str, int, int, int, int, bool]

CELL_COLUMNS = "source path date viewport_band layer kind x_bin y_bin event_n raw_n"
OUTSIDE_COLUMNS = "source path date viewport_band kind below_fold_n unplaced_n invalid_n"
OUTLINE_COLUMNS = "source path viewport_band boxes"
SIZES = "viewport_w viewport_h document_h"
X_BINS, Y_PIXELS = 100, 16
# a page is drawn to this depth, in cells of 16 px: 20,000 px
DEEPEST = 1250
MOST_CELLS = {"click": 800, "move": 500, "rage": 250, "dead": 250}
MOST_BOXES = 140
LEAST_SIDE = 6
LONGEST_LABEL = 48
COUNTED = re.compile(r":nth-[a-z-]+\(\d+\)")


def by_range(column: str, period: Period, as_name: str, condition: str = "true") -> str:
    """One sum of `column` for every range of dates, named `<as_name>_<range>`; `bounds` has the values."""
    return ", ".join(
        f"sum({column}) filter (where {condition} and date between $since_{one.key} and $until_{one.key})::double"
        f" as {as_name}_{one.key}"
        for one in period.ranges
    )


def bounds(period: Period) -> dict[str, object]:
    values: dict[str, object] = {}
    for one in period.ranges:
        values |= {f"since_{one.key}": one.since, f"until_{one.key}": one.until}
    return values


def chosen(pages: list[Page]) -> dict[str, object]:
    """What CHOSEN binds."""
    return {"sources": [source for source, _ in pages], "paths": [path for _, path in pages]}


CHOSEN = "(select unnest($sources::varchar[]) as source, unnest($paths::varchar[]) as path)"


def cells(published: Published, period: Period, pages: list[Page]) -> dict[Page, dict[str, Row]]:
    """By page and viewport band: `{kind: {range: {n, raw_n, below_n, fold_n, out_n, page, fixed}}}`.

    `page` and `fixed` are the two layers as `packed` gives them; `n` counts events (a sampled one for
    several), `raw_n` those received, `below_n` those deeper than the picture, which are in `n` too,
    `fold_n` those below the first window; `out_n`, not in `n`, are those without a usable place.
    """
    found: dict[Page, dict[str, Row]] = defaultdict(lambda: defaultdict(dict))
    if published.lacks("marts.heatmap_cells", CELL_COLUMNS):
        return found
    choices = period.ranges
    # page by page, for a page may have a hundred thousand cells
    for page in pages:
        points: dict[Any, dict[str, list[tuple[int, int, float]]]] = defaultdict(lambda: {"page": [], "fixed": []})
        sums: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for row in _cells(published, period, page):
            for choice in choices:
                n = row[f"n_{choice.key}"]
                if not n:
                    continue
                key = (row["viewport_band"], row["kind"], choice.key)
                sums[key][0] += n
                sums[key][1] += row[f"raw_{choice.key}"] or 0
                if row["y_bin"] >= DEEPEST:
                    sums[key][2] += n
                else:
                    points[key]["fixed" if row["layer"] == "fixed" else "page"].append((row["x_bin"], row["y_bin"], n))
        for key, (n, raw_n, below_n) in sums.items():
            band, kind, choice_key = key
            layers = {layer: packed(points[key][layer], MOST_CELLS[kind]) for layer in ("page", "fixed")}
            counts = {"n": tidy(n), "raw_n": tidy(raw_n), "below_n": tidy(below_n)}
            found[page][band].setdefault(kind, {})[choice_key] = {**counts, **layers}
    _put_outside(published, period, pages, found)
    return found


def _cells(published: Published, period: Period, page: Page) -> list[Row]:
    return published.rows(
        "select viewport_band, layer, kind, x_bin, least(y_bin, $deepest)::bigint as y_bin, "
        + by_range("event_n", period, "n")
        + ", "
        + by_range("raw_n", period, "raw")
        + " from marts.heatmap_cells where source = $source and path = $path"
        " and kind in ('click', 'rage', 'dead', 'move') and date between $since_all and $until_all"
        " group by all order by all",
        deepest=DEEPEST,
        source=page[0],
        path=page[1],
        **bounds(period),
    )


def _put_outside(published: Published, period: Period, pages: list[Page], found: dict[Page, dict[str, Row]]) -> None:
    if published.lacks("marts.heatmap_pages", OUTSIDE_COLUMNS):
        return
    for row in published.rows(
        "select source, path, viewport_band, kind, "
        + by_range("below_fold_n", period, "fold")
        + ", "
        + by_range("unplaced_n + invalid_n", period, "out")
        + f" from marts.heatmap_pages join {CHOSEN} using (source, path)"
        " where date between $since_all and $until_all group by all order by all",
        **bounds(period),
        **chosen(pages),
    ):
        kinds = found.get((row["source"], row["path"]), {}).get(row["viewport_band"], {})
        for key, one in kinds.get(row["kind"], {}).items():
            one["fold_n"] = tidy(row[f"fold_{key}"] or 0)
            one["out_n"] = tidy(row[f"out_{key}"] or 0)


def packed(points: list[tuple[int, int, float]], most: int) -> Row | None:
    """Cells (x, y, n) as `{size, n, cells}`, None without any.

    Where they are more than `most`, squares of size x size cells are added up until they fit, so that no
    event is left out. `cells` is flat: the distance from the square before (row by row, ceil(100 / size)
    squares a row, the first from -1), and its events.
    """
    if not points:
        return None
    size = 1
    merged: dict[int, float] = {}
    while True:
        wide = -(-X_BINS // size)
        merged = defaultdict(float)
        for x, y, n in points:
            merged[y // size * wide + x // size] += n
        if len(merged) <= most or size >= 16:
            break
        size *= 2
    flat: list[float] = []
    before = -1
    for at, n in sorted(merged.items()):
        flat += [at - before, tidy(n)]
        before = at
    return {"size": size, "n": tidy(sum(merged.values())), "cells": flat}


def outlines(published: Published, pages: list[Page]) -> dict[Page, dict[str, Row]]:
    """By page and band: `{boxes: [[label, x, y, w, h, is_fixed]], box_n, width, height, fold}` in page pixels.

    A fixed box stays in the window while the page scrolls: its place is that in the window.
    `width` is the window's, `height` the page's, `fold` the window's height (None where nobody says);
    `box_n` counts the different boxes before the smallest were left out.
    """
    found: dict[Page, dict[str, Row]] = defaultdict(dict)
    if published.lacks("marts.page_outlines", OUTLINE_COLUMNS):
        return found
    sizes = [name for name in SIZES.split() if not published.lacks("marts.page_outlines", name)]
    for row in published.rows(
        f"select source, path, viewport_band, boxes{''.join(f', {name}' for name in sizes)}"
        f" from marts.page_outlines join {CHOSEN} using (source, path) order by source, path, viewport_band",
        **chosen(pages),
    ):
        boxes = _innermost(_boxes(row["boxes"]))
        if not boxes:
            continue
        width = row.get("viewport_w") or max(x + w for _, x, _, w, _, _ in boxes)
        height = max(row.get("document_h") or 0, *(y + h for _, _, y, _, h, _ in boxes))
        found[row["source"], row["path"]][row["viewport_band"]] = {
            "boxes": _largest(boxes),
            "box_n": len(boxes),
            "width": round(width),
            "height": min(round(height), DEEPEST * Y_PIXELS),
            "fold": row.get("viewport_h"),
        }
    return found


def label(selector: str) -> str:
    """The last step of a selector, which names the element itself, without its place among its like."""
    return cut(COUNTED.sub("", selector.rsplit(">", 1)[-1]).strip() or selector, LONGEST_LABEL)


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def tidy(value: float) -> float | int:
    """Counts divided by a sample rate keep one decimal; all others are whole."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


def _boxes(value: Any) -> list[Box]:
    """Boxes with a place on the page. They come from browsers, so any of them may be anything."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    boxes = []
    for box in value if isinstance(value, list) else []:
        if not isinstance(box, dict) or not isinstance(box.get("selector"), str):
            continue
        sides = [side for side in map(box.get, "xywh") if isinstance(side, int | float) and isfinite(side)]
        if len(sides) < 4 or max(map(abs, sides)) > 1e7:
            continue
        x, y, w, h = map(round, sides)
        if w >= LEAST_SIDE and h >= LEAST_SIDE and y + h > 0 and x + w > 0 and y < DEEPEST * Y_PIXELS:
            boxes.append((box["selector"], x, y, w, h, box.get("is_fixed") is True))
    return boxes


def _innermost(boxes: list[Box]) -> list[Box]:
    # of nested elements with the same box the innermost comes last, and says most
    places = {(x, y, w, h, is_fixed): selector for selector, x, y, w, h, is_fixed in boxes}
    return [(selector, *place) for place, selector in places.items()]


def _largest(boxes: list[Box]) -> list[list[Any]]:
    kept = sorted(boxes, key=lambda box: (-box[3] * box[4], box[1:]))[:MOST_BOXES]
    return [[label(selector), *place] for selector, *place in kept]
