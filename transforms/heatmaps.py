"""marts.heatmap_*, marts.page_outlines: where on a page people point, by date."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime

import polars as pl

from transforms import dates, heatmap_cells
from transforms.run import Run
from warehouse import Warehouse

SLICE = 500_000  # samples that are counted at once, or those of one date: so many are sorted in a processor's cache
LARGEST = 2**62  # number of a cell
# A cell's number: a ground (all that a cell is of beside its place: date, page, band, layer and kind), x_bin, y_bin.
GROUND = "(cast(p.date - $first as bigint) * $page_n + p.page_no) * 32 + p.viewport_band * 8 + p.layer * 4 + p.kind"
X_BITS = 7
CELL = f"(({GROUND}) * {2**X_BITS} + p.x_bin) * $height + p.y_bin"
SAMPLES = "core.pointer as p where p.x_bin is not null and not p.is_bot"
TOUCHED = f"{SAMPLES} and p.date in (select date from touched_dates)"
TEXTS = ("source", "path", "viewport_band", "layer", "kind")
COUNTED = pl.Schema(
    {"ground": pl.Int64, "x_bin": pl.Int32, "y_bin": pl.Int32, "raw_n": pl.Int64, "session_n": pl.Int64}
)


def count_cells(warehouse: Warehouse, horizon: datetime) -> pl.DataFrame:
    """What lies in the cells of the touched_dates: a frame of ground, x_bin, y_bin, event_n, raw_n, session_n.

    The temp table grounds says what a ground is.
    """
    days = warehouse.execute(f"select p.date, count(*), max(p.y_bin) from {TOUCHED} group by p.date order by p.date")
    first = days[0][0] if days else horizon.date()
    y_bits = max((most for _, _, most in days), default=0).bit_length()
    page_n = int(warehouse.value("select count(*) + 1 from core.pages"))
    values = {"page_n": page_n, "height": 2**y_bits}
    counted: list[Future[pl.DataFrame]] = []
    # Two slices are counted while the next one is read; there are never more than three.
    with ThreadPoolExecutor(2) as beside:
        for since, until in _slices(days, room=(LARGEST >> (X_BITS + y_bits)) // (32 * page_n)):
            samples = warehouse.frame(
                f"select {CELL} as cell, p.session_no from {SAMPLES} and p.date between $first and $until",
                {**values, "first": since, "until": until},
            )
            if len(counted) > 1:
                counted[-2].result()
            counted.append(beside.submit(_count, samples, (since - first).days * page_n * 32, y_bits))
    cells = pl.concat([pl.DataFrame(schema=COUNTED), *(each.result() for each in counted)])
    # Texts are made once a ground, not once a cell; cells hold numbers of them until they are stored.
    with warehouse.frames(met=cells.select(pl.col("ground").set_sorted().unique())):
        warehouse.execute(
            """
            create or replace temp table grounds as
            select
                m.ground, g.source, g.path, t.date, t.ends_at <= $horizon as is_complete,
                case m.ground // 8 % 4 when 0 then 'mobile' when 1 then 'tablet' else 'desktop' end as viewport_band,
                case m.ground // 4 % 2 when 0 then 'page' else 'fixed' end as layer,
                case m.ground % 4 when 0 then 'click' when 1 then 'move' when 2 then 'rage' else 'dead' end as kind
            from met as m
            inner join touched_dates as t on cast(t.date - $first as bigint) = m.ground // 32 // $page_n
            inner join core.pages as g on m.ground // 32 % $page_n = g.page_no
            """,
            {"horizon": horizon, "first": first, "page_n": page_n},
        )
    for text in TEXTS:
        warehouse.execute(f"create or replace temp type pointed_{text} as enum (select distinct {text} from grounds)")
    numbered = ", ".join(f"cast({text} as pointed_{text}) as {text}" for text in TEXTS)
    warehouse.execute(f"create or replace temp table grounds as select * replace ({numbered}) from grounds")
    # Most samples stand for themselves alone: what the others add is counted apart.
    more = warehouse.frame(
        f"select {GROUND} as ground, cast(p.x_bin as integer) as x_bin, p.y_bin, fsum(p.weight - 1) as more_n "
        f"from {TOUCHED} and p.weight <> 1 group by all",
        {**values, "first": first},
    )
    event_n = pl.col("raw_n").cast(pl.Float64)
    if more.height:
        cells = cells.join(more, on=("ground", "x_bin", "y_bin"), how="left")
        event_n += pl.col("more_n").fill_null(0)
    return cells.select("ground", "x_bin", "y_bin", "raw_n", "session_n", event_n=event_n)


def _slices(days: list[tuple[date, int, int]], room: int) -> Iterator[tuple[date, date]]:
    """The first and last date of each slice of `days` (date, samples, …): days in a row, at most `room`."""
    sliced: list[date] = []
    sliced_n = 0
    for day, sample_n, _ in days:
        if sliced and ((day - sliced[-1]).days > 1 or sliced_n + sample_n > SLICE or len(sliced) >= room):
            yield sliced[0], sliced[-1]
            sliced, sliced_n = [], 0
        sliced.append(day)
        sliced_n += sample_n
    if sliced:
        yield sliced[0], sliced[-1]


def _count(samples: pl.DataFrame, first_ground: int, y_bits: int) -> pl.DataFrame:
    """The cells of a slice: columns as COUNTED."""
    counted = heatmap_cells.count(samples)
    cell = counted["cell"].to_numpy()
    places = {
        "ground": (cell >> (X_BITS + y_bits)) + first_ground,
        "x_bin": (cell >> y_bits) & (2**X_BITS - 1),
        "y_bin": cell & (2**y_bits - 1),
    }
    return pl.DataFrame(places).with_columns(counted["raw_n"], counted["session_n"]).cast(COUNTED)


def draw(run: Run) -> int:
    """Make the touched local dates again, and the outlines of the pages that were outlined on them."""
    warehouse = run.warehouse
    dates.touch(run)
    cells = count_cells(warehouse, run.horizon)
    values = {"horizon": run.horizon}
    by_date = "true" if run.whole else "date in (select date from touched_dates)"
    with warehouse.frames(counted_cells=cells):
        rows = run.replace(
            "marts.heatmap_cells",
            warehouse.query("marts.heatmap_cells"),
            values,
            scope=by_date,
            key="source, path, date, viewport_band, layer, kind, x_bin, y_bin",
        )
    for table, key in (
        ("marts.heatmap_pages", "source, path, date, viewport_band, kind"),
        ("marts.heatmap_element_cells", "source, path, date, selector, el_x_bin, el_y_bin"),
        ("core.outlines", "source, path, viewport_band, date"),
    ):
        rows += run.replace(table, warehouse.query(table), values, scope=by_date, key=key)
    warehouse.execute(
        "create or replace temp table touched_outlines as "
        "select source, path, viewport_band from old_outlines "
        "union select source, path, viewport_band from new_outlines "
        "union select source, path, viewport_band from core.outlines where $whole",
        {"whole": run.whole},
    )
    page = "source, path, viewport_band"
    touched = f"({page}) in (select {page} from touched_outlines)"
    rows += run.replace(
        "marts.page_outlines",
        warehouse.query("marts.page_outlines"),
        scope="true" if run.whole else touched,
        key=page,
    )
    return rows
