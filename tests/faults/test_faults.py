"""Each fault once, with a seed of its own; `make faults` plays many seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from faults.catalogue import FAULTS
from faults.stage import Result


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_that_was_acknowledged_is_lost_or_doubled(name: str, outcome: Callable[[str], Result]) -> None:
    result = outcome(name)
    assert not result.broken
    assert (result.lost_n, result.doubled_n) == (0, 0)
    assert result.injected_n
    assert result.acked_n > 20
