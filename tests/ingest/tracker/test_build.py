"""The built tracker: small, nothing from elsewhere, and what its sources give."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TRACKER = Path(__file__).parents[3] / "ingest" / "tracker"
BUILT = TRACKER / "built"
NOT_FOR_ALL = {"footfall.vitals.js", "footfall.survey.js"}  # each is asked for by name


@pytest.fixture(scope="module")
def npm() -> str:
    """The path of npm beside a Node.js that is new enough; without them the test skips."""
    node, found = shutil.which("node"), shutil.which("npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout if node else "v0"
    if found and int(version.removeprefix("v").partition(".")[0]) >= 18:
        return found
    pytest.skip("Node.js 18 or later with npm is not here: apt-get install nodejs npm")


def packed(path: Path) -> int:
    return len(gzip.compress(path.read_bytes(), 9))


def test_the_core_is_below_4_kb() -> None:
    assert 1000 < packed(BUILT / "footfall.js") < 4000


def test_the_core_and_all_parts_for_every_page_are_below_10_kb() -> None:
    sizes = {path.name: packed(path) for path in BUILT.glob("*.js") if path.name not in NOT_FOR_ALL}
    parts = {f"footfall.{part}.js" for part in ("left", "friction", "errors", "outline", "forms", "variants", "moves")}
    assert set(sizes) == parts | {"footfall.js"}
    assert sum(sizes.values()) < 10_000


def test_every_part_that_is_built_has_a_source() -> None:
    parts = {f"footfall.{path.stem}.js" for path in (TRACKER / "src" / "parts").glob("*.ts")}
    assert {path.name for path in BUILT.iterdir()} == parts | {"footfall.js"}


def test_it_depends_on_nothing_and_does_nothing_that_a_policy_forbids() -> None:
    package = json.loads((TRACKER / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & set(package)
    assert "://" not in (TRACKER / "package-lock.json").read_text()
    for path in BUILT.iterdir():
        text = path.read_text(encoding="utf-8")
        found = re.search(r"\beval\(|new Function|\.innerHTML|document\.cookie|document\.write\b|https?://", text)
        assert not found, f"{path.name} has {found and found[0]}"


def test_the_version_is_that_of_footfall() -> None:
    front = (TRACKER.parents[1] / "steps.py").read_text(encoding="utf-8")
    version = json.loads((TRACKER / "package.json").read_text())["version"]
    assert f'__version__ = "{version}"' in front
    assert f'"{version}"' in (BUILT / "footfall.js").read_text(encoding="utf-8")


def test_a_fresh_build_gives_the_same_bytes(tmp_path: Path, npm: str) -> None:
    for name in ("package.json", "package-lock.json", "build.mjs", "tsconfig.json"):
        (tmp_path / name).write_bytes((TRACKER / name).read_bytes())
    (tmp_path / "src").symlink_to(TRACKER / "src")
    for command in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "check"], ["run", "build"]):
        done = subprocess.run([npm, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "built").iterdir()}
    committed = {path.name: path.read_bytes() for path in BUILT.iterdir()}
    changed = [name for name in {*fresh, *committed} if fresh.get(name) != committed.get(name)]
    assert not changed, "the sources give other files than those that are committed: make tracker"
