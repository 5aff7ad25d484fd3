"""Rows in their total order, against the plain sort of all its columns."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.total_order import REST, in_order

LINE = st.tuples(
    # Ids like hashes, some of which differ in their low bits only.
    st.sampled_from((0, 1, 2**40, 2**62, 2**62 + 1, 2**62 + 2**30, 2**63 - 1)),
    st.one_of(st.integers(0, 5).map(lambda n: n * 1000), st.sampled_from((-(2**52), 7, 2**52))),
    st.sampled_from((None, 1, 2)),
    st.sampled_from(("a", "b", "é", "B")),
)


def frame(lines: list[tuple[int, int, int | None, str]]) -> pl.DataFrame:
    told = pl.DataFrame(
        lines, schema={"unit": pl.Int64, "at": pl.Int64, "seq": pl.Int64, "event_id": pl.String}, orient="row"
    )
    return told.with_columns(source=pl.lit("shop"), event_no=pl.int_range(pl.len()).reverse() * 3)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, max_size=40), st.sampled_from([(), ("at",), ("unit", "at")]))
def test_rows_come_in_the_order_that_a_sort_of_all_columns_gives(
    lines: list[tuple[int, int, int | None, str]], order: tuple[str, ...]
) -> None:
    events = frame(lines)
    events = events.sort(order) if order else events
    narrow = events.select("event_no", "at", "unit")

    def rest(event_no: pl.Series) -> pl.DataFrame:
        return events.filter(pl.col("event_no").is_in(event_no.implode())).select(REST)

    plain = events.sort("unit", "at", *REST, nulls_last=True)
    assert in_order(narrow, "unit", rest).equals(plain.select(narrow.columns))
    assert in_order(narrow, "unit").equals(narrow.sort("unit", "at", maintain_order=True))


def test_rest_is_asked_only_for_rows_that_tie() -> None:
    events = frame([(2, 5, 1, "b"), (1, 5, 1, "b"), (2, 5, 1, "a"), (2, 6, 1, "a")])
    asked: list[int] = []

    def rest(event_no: pl.Series) -> pl.DataFrame:
        asked.extend(event_no.to_list())
        return events.filter(pl.col("event_no").is_in(event_no.implode())).select(REST)

    assert in_order(events, "unit", rest)["event_no"].to_list() == [6, 3, 9, 0]
    assert sorted(asked) == [3, 9]
