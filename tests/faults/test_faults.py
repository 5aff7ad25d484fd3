"""Each fault once, with a seed of its own; `make faults` plays many seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.catalogue import FAULTS
from faults.play import play
from stack import broker as kafka
from tests.conftest import require

SEED = 7


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_that_was_acknowledged_is_lost_or_doubled(name: str, tmp_path: Path) -> None:
    require("cc", "apt-get install gcc libc6-dev")
    if FAULTS[name].needs_kafka and (lack := kafka.missing()):
        pytest.skip(lack)
    result = play(FAULTS[name], SEED, tmp_path)
    assert not result.broken
    assert (result.lost_n, result.doubled_n) == (0, 0)
    assert result.injected_n
    assert result.acked_n > 20
