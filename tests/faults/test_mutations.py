"""The mutation check: with a protection switched off, the fault that it protects from must be seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from faults.mutations import MUTATIONS
from faults.stage import Result


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_that_is_switched_off_is_missed(
    name: str, outcome: Callable[[str], tuple[int, Result] | None]
) -> None:
    assert outcome(name) is not None
