"""What the machine must bring: a test that needs it skips by name, or fails with FOOTFALL_REQUIRE=all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from stack import airflow as scheduling
from stack import broker as kafka

ROOT = Path(__file__).parents[1]
READERS = ("1.2.2", "1.5.6")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _forbid(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _forbid(report, collector.nodeid)
    return report


def _forbid(report: pytest.TestReport | pytest.CollectReport, name: str) -> None:
    """With FOOTFALL_REQUIRE=all nothing may be skipped."""
    if os.environ.get("FOOTFALL_REQUIRE") == "all":
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{name} would be skipped, but FOOTFALL_REQUIRE=all allows none. {why}"


def require(program: str, command: str) -> str:
    """The path of a program; without it the test skips."""
    path = shutil.which(program)
    if path:
        return path
    pytest.skip(f"{program} is not here: {command}")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for playwright's executable_path."""
    return require("chromium", "apt-get install chromium")


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of the real data that is not ours to commit."""
    folder = Path(os.environ.get("FOOTFALL_TESTDATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not in {folder}: FOOTFALL_TESTDATA=its folder")
    return folder


@pytest.fixture(scope="session", params=READERS)
def older_duckdb(request: pytest.FixtureRequest) -> Path:
    """A Python that has an older duckdb, and nothing else, installed."""
    python = ROOT / f".venv-duckdb-{request.param}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"duckdb {request.param} is not here: make readers")
    return python


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Generator[kafka.Broker, None, None]:
    """One Kafka broker for the whole run. Each test takes a topic name of its own, and leaves it running."""
    if lack := kafka.missing():
        pytest.skip(lack)
    with kafka.Broker(tmp_path_factory.mktemp("kafka")) as one:
        yield one


@pytest.fixture(scope="session")
def airflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty metadata database of Airflow, to be copied."""
    program = Path(sys.executable).with_name("airflow")
    if not program.exists():
        pytest.skip("Airflow is not here: make setup-dev")
    folder = tmp_path_factory.mktemp("airflow_database")
    env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env |= {"AIRFLOW_HOME": str(folder), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    subprocess.run([program, "db", "migrate"], env=env, capture_output=True, check=True)
    return folder / "airflow.db"


@pytest.fixture(scope="session")
def airflow(
    airflow_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[scheduling.Airflow, None, None]:
    """One Airflow for the whole run, on no home of its own: a run names one. Nothing of it may be left at the end."""
    folder = tmp_path_factory.mktemp("airflow_standalone")
    shutil.copy(airflow_database, folder / "airflow.db")
    one = scheduling.Airflow(folder)
    one.start(wait_s=270)
    seen = one.processes()
    yield one
    seen |= one.processes()
    one.stop()
    left = [number for number in seen if Path(f"/proc/{number}").exists()]
    assert not left, f"processes of Airflow are left: {left}"
