"""The wheel holds all that footfall needs, and nothing that is only ours."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = ("ingest", "transforms", "report", "demo", "sql")
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", *packages]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    needed = {name for name in listed if (ROOT / name).is_file()}
    assert len([name for name in needed if name.endswith(".sql")]) > 10
    assert needed - held == set()
    assert {"footfall.py", "footfall.default.toml", "config.py", "warehouse.py", "steps.py"} <= held


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - info == {
        "footfall.py",
        "footfall.default.toml",
        "config.py",
        "warehouse.py",
        "steps.py",
        "repair.py",
        "ingest",
        "transforms",
        "report",
        "demo",
        "sql",
    }


def test_the_wheel_works_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import config, footfall, warehouse\n"
        "assert config.__file__.startswith(sys.argv[1]), config.__file__\n"
        "config.read(config.starter(), {})\n"
        "print(len(warehouse.tables()), footfall.__version__)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tables, version = done.stdout.split()
    assert int(tables) > 10
    assert version in wheel.name


def test_it_is_licensed_and_kept_from_being_uploaded(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel)
    names = {Path(name).name for name in held.namelist() if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE"} <= names
    (metadata,) = (name for name in held.namelist() if name.endswith(".dist-info/METADATA"))
    assert "Classifier: Private :: Do Not Upload" in held.read(metadata).decode()
