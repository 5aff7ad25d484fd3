"""The interval of a share."""

from __future__ import annotations

from math import sqrt

Z = 1.959964


def wilson(hits: int, n: int) -> tuple[float, float] | None:
    """95 % bounds of hits / n, None for n = 0.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if n == 0:
        return None
    share = hits / n
    spread = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / spread
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / spread
    return max(0.0, centre - half), min(1.0, centre + half)
