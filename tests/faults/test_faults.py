"""Each fault once, with a seed of its own, and the mutation check; `make faults` plays many seeds.

They are played side by side: most of a seed is waiting, and they share nothing but brokers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from faults import power
from faults.brokers import Brokers
from faults.catalogue import FAULTS
from faults.mutations import MUTATIONS, first_red
from faults.play import play
from faults.stage import HERE
from faults.tree import Tree
from stack import broker as kafka
from tests.conftest import require

SEED = 7
AT_A_TIME = 3


@pytest.fixture(scope="module")
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """What came of a fault or a mutation, by its name; all that this run asks for are begun at once."""
    require("cc", "apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("faults")
    library = power.build(folder)
    asked = [item.callspec.params["name"] for item in request.session.items if "outcome" in item.fixturenames]
    with (
        Tree(HERE, library) as tree,
        Brokers(folder / "brokers") as brokers,
        ThreadPoolExecutor(AT_A_TIME) as pool,
    ):

        def begin(name: str) -> Future[Any]:
            if name in MUTATIONS:
                return pool.submit(first_red, MUTATIONS[name], folder / name, library, brokers)
            return pool.submit(play, FAULTS[name], SEED, folder / name, tree, brokers)

        begun = {name: begin(name) for name in asked if can_run(name)}
        try:
            yield lambda name: begun[name].result() if can_run(name) else pytest.skip(str(kafka.missing()))
        finally:
            pool.shutdown(cancel_futures=True)


def can_run(name: str) -> bool:
    fault = FAULTS[MUTATIONS[name].fault if name in MUTATIONS else name]
    return not fault.needs_kafka or not kafka.missing()


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_that_was_acknowledged_is_lost_or_doubled(name: str, outcome: Callable[[str], Any]) -> None:
    result = outcome(name)
    assert not result.broken
    assert (result.lost_n, result.doubled_n) == (0, 0)
    assert result.injected_n
    assert result.acked_n > 20


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_that_is_switched_off_is_missed(name: str, outcome: Callable[[str], Any]) -> None:
    assert outcome(name) is not None
