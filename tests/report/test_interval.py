"""The interval of a share."""

from __future__ import annotations

import pytest

from report.interval import wilson


# the examples of R. G. Newcombe, Two-sided confidence intervals for the single proportion (1998)
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_bounds_are_the_published_ones(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_nothing_of_nothing_has_no_interval() -> None:
    assert wilson(0, 0) is None
