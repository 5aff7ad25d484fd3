"""The mutation check: with a protection switched off, the fault that it protects from must be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.catalogue import FAULTS
from faults.mutations import MUTATIONS, first_red
from stack import broker as kafka
from tests.conftest import require


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_that_is_switched_off_is_missed(name: str, tmp_path: Path) -> None:
    require("cc", "apt-get install gcc libc6-dev")
    if FAULTS[MUTATIONS[name].fault].needs_kafka and (lack := kafka.missing()):
        pytest.skip(lack)
    assert first_red(MUTATIONS[name], tmp_path) is not None
