"""The mutation check: with a protection switched off, the fault that it protects from must be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.mutations import MUTATIONS, first_red
from tests.conftest import require


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_that_is_switched_off_is_missed(name: str, tmp_path: Path) -> None:
    require("cc", "apt-get install gcc libc6-dev")
    assert first_red(MUTATIONS[name], tmp_path) is not None
