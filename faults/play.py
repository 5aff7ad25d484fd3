"""One seed of one fault, from an empty folder to its result."""

from __future__ import annotations

import subprocess
from pathlib import Path

from faults.brokers import Brokers
from faults.catalogue import Fault
from faults.stage import Failed, Result, Stage
from faults.tree import Tree


def play(fault: Fault, seed: int, folder: Path, tree: Tree, brokers: Brokers) -> Result:
    """The result; a command of footfall that failed is one, too. Nothing that was started goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(folder, seed, tree, brokers)
    try:
        return fault.play(stage)
    except (Failed, subprocess.TimeoutExpired) as error:
        return Result(0, 0, 0, 0, 0.0, (*stage.broken, " ".join(str(error).split())[-1500:]))
    finally:
        stage.close()
