"""What the machine must bring: a test that needs it skips by name, or fails with FOOTFALL_REQUIRE=all."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str, command: str) -> str:
    """The path of a program; without it the test skips, or fails where nothing may be skipped."""
    path = shutil.which(program)
    if path:
        return path
    sentence = f"{program} is not here: {command}"
    if os.environ.get("FOOTFALL_REQUIRE") == "all":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for playwright's executable_path."""
    return require("chromium", "apt-get install chromium")
