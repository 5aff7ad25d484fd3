"""What the machine must bring: a test that needs it skips by name, or fails with FOOTFALL_REQUIRE=all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack import airflow as scheduling
from stack import broker as kafka
from stack.ports import free_ports

ROOT = Path(__file__).parents[1]
READERS = ("1.2.2", "1.5.6")
# The tests start hundreds of processes: only the first of them compiles what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Whoever uses one of these runs in the process that has it; it takes longest, so it begins first.
SHARED = {"broker", "airflow_database", "stack"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the run (make test): what shares a broker stays together, and so does each file."""
    for item in items:
        is_shared = not SHARED.isdisjoint(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("stack" if is_shared else item.path.stem))
    items.sort(key=lambda item: SHARED.isdisjoint(getattr(item, "fixturenames", ())))


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
def clickhouse() -> Path:
    """A Python that has ClickHouse (chdb) installed."""
    python = ROOT / ".venv-clickhouse" / "bin" / "python"
    if not python.exists():
        pytest.skip("ClickHouse is not here: make clickhouse")
    return python


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, what it vouches for (client.pem, broker.pem of 127.0.0.1 with its key), and other.pem."""
    folder = tmp_path_factory.mktemp("certificates")
    make = [require("openssl", "apt-get install openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    make += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    of_ca = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    wanted = {"ca": [], "other": [], "client": of_ca, "broker": [*of_ca, "-addext", "subjectAltName=IP:127.0.0.1"]}
    for name, more in wanted.items():
        named = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*make, *named, *more], cwd=folder, capture_output=True, check=True)
    whole = folder / "broker.pem"
    whole.write_text((folder / "broker.key").read_text() + whole.read_text())
    return folder


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Generator[kafka.Broker, None, None]:
    """One Kafka broker for the whole run. Each test takes a topic name of its own, and leaves it running."""
    if lack := kafka.missing():
        pytest.skip(lack)
    with kafka.Broker(tmp_path_factory.mktemp("kafka"), certificates=certificates) as one:
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


@dataclass(frozen=True)
class Stack:
    """What `make up` runs, for the whole run of the tests: no schedule, so that each test says what happens when."""

    home: Path
    collector: str
    airflow: scheduling.Airflow  # its client; the process belongs to `make up`


@pytest.fixture(scope="session")
def stack(airflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack, None, None]:
    """The whole stack by `make up`, ended by Ctrl-C: then nothing of it may be left."""
    if lack := kafka.missing():
        pytest.skip(lack)
    home = tmp_path_factory.mktemp("stack") / "up"
    (home / "airflow").mkdir(parents=True)
    shutil.copy(airflow_database, home / "airflow" / "airflow.db")
    ports = free_ports(2)
    said = home.parent / "up.log"
    words = ["--home", str(home), "--port", str(ports[0]), "--airflow-port", str(ports[1]), "--schedule", ""]
    with said.open("wb") as out:
        up = subprocess.Popen([sys.executable, "-m", "stack.up", *words], cwd=ROOT, stdout=out, stderr=out)
    try:
        end = time.monotonic() + 800
        while "Ctrl-C ends all." not in said.read_text(encoding="utf-8"):
            assert up.poll() is None, said.read_text(encoding="utf-8")
            assert time.monotonic() < end, said.read_text(encoding="utf-8")
            time.sleep(0.2)
        yield Stack(home, f"http://127.0.0.1:{ports[0]}", scheduling.Airflow(home / "airflow", port=ports[1]))
    finally:
        assert using(home)
        up.send_signal(signal.SIGINT)
        code = up.wait(90)
    assert code == 0, said.read_text(encoding="utf-8")
    assert not using(home)


def using(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder, or that were given it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, given = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            if process.name != str(os.getpid()) and str(folder).encode() in command + given:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
