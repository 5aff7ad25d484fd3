"""The DAGs by dag.test(): they call the steps of the command line, and say what is wrong in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import footfall

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask(airflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask the process that runs DAGs: (dag_id, conf) or nothing, for what its folder holds."""
    folder = tmp_path_factory.mktemp("airflow")
    shutil.copy(airflow_database, folder / "airflow.db")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "FOOTFALL_"))}
    env |= {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    }
    command = [sys.executable, str(Path(__file__).parent / "worker.py"), str(folder / "said.txt")]
    worker = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin
    assert worker.stdout

    def question(dag_id: str | None = None, folder_of_dags: Path = DAGS, **conf: Any) -> dict[str, Any]:
        assert worker.stdin
        assert worker.stdout
        worker.stdin.write(json.dumps([str(folder_of_dags), dag_id, conf]) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        assert line, (folder / "said.txt").read_text()[-5000:]
        answer: dict[str, Any] = json.loads(line)
        return answer

    yield question
    worker.stdin.close()
    worker.stdout.close()
    assert worker.wait(20) == 0


def footfall_does(*words: str) -> str:
    done = subprocess.run([sys.executable, footfall.__file__, *words], capture_output=True, text=True, check=True)
    return done.stdout


EVENTS = [
    {"type": "page", "messageId": f"{day}-{who}", "anonymousId": f"a{who}", "timestamp": f"2026-11-{day}T10:00:00Z",
     "properties": {"url": f"https://shop.example/{who}"}}
    for day in (18, 19, 20)
    for who in range(5)
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose log holds fifteen events that nobody has landed."""
    made = tmp_path / "home"
    footfall_does("init", "--home", str(made))
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    footfall_does("import", "jsonl", str(file), "--source", "web", "--home", str(made))
    return made


def count(home: Path, table: str) -> int:
    with duckdb.connect(str(home / "bi.duckdb"), read_only=True) as con:
        return int(con.execute(f"select count(*) from {table}").fetchall()[0][0])


def test_three_dags_load_without_a_home_and_without_a_word(ask: Ask) -> None:
    found = ask()
    assert found["dags"] == ["footfall_backfill", "footfall_maintain", "footfall_pipeline"]
    assert not found["errors"]


def test_the_pipeline_lands_builds_and_publishes(ask: Ask, home: Path) -> None:
    done = ask("footfall_pipeline", home=str(home))
    assert done["tasks"] == {"land": "success", "build": "success", "publish": "success"}
    assert "Landed 15 events: 15 new, 0 repeated, 0 rejected." in done["said"]
    assert "Built " in done["said"]
    assert f"rows to {home}/bi.duckdb" in done["said"]
    assert " s of them to open the warehouse." in done["said"]
    assert count(home, "core.events") == 15
    again = ask("footfall_pipeline", home=str(home))
    assert again["run"] == "success"
    assert again["tasks"] == {"land": "success", "build": "success", "publish": "skipped"}


def test_the_backfill_makes_a_range_anew_or_only_says_so(ask: Ask, home: Path) -> None:
    ask("footfall_pipeline", home=str(home))
    before = (home / "bi.duckdb").stat()
    dry = ask("footfall_backfill", home=str(home), since="2026-11-19", until="2026-11-20", dry_run=True)
    assert dry["tasks"] == {"rebuild": "success", "publish": "skipped"}
    assert "Dates: 2, from 2026-11-19 to 2026-11-20." in dry["said"]
    assert "Nothing was changed." in dry["said"]
    assert (home / "bi.duckdb").stat() == before
    done = ask("footfall_backfill", home=str(home), since="2026-11-19", until="2026-11-20")
    assert done["tasks"] == {"rebuild": "success", "publish": "success"}
    assert "Built " in done["said"]
    without = ask("footfall_backfill", home=str(home))
    assert without["run"] == "failed"
    assert 'No range is named: give the parameter "since", "until" or both.' in without["said"]
    backwards = ask("footfall_backfill", home=str(home), since="2026-11-20", until="2026-11-19")
    assert "--since 2026-11-20 must not lie behind --until 2026-11-19." in backwards["said"]


def test_maintenance_removes_scratch_and_lets_payloads_go(ask: Ask, home: Path) -> None:
    ask("footfall_pipeline", home=str(home))
    (home / "bi.duckdb.new-1").write_bytes(b"left by a kill")
    done = ask("footfall_maintain", home=str(home))
    assert done["tasks"] == {"expire": "success", "tidy": "success", "compact": "success"}
    assert "The payload of 0 events and 0 rejected pieces" in done["said"]
    assert not list(home.glob("*.new*"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", 'The home "" is not the whole path of a folder. Set FOOTFALL_HOME where Airflow runs'),
        ("footfall-data", 'The home "footfall-data" is not the whole path of a folder.'),
        ("/nowhere/at/all", "There is no /nowhere/at/all/footfall.toml. Make one with: footfall init --home"),
    ],
)
def test_a_home_that_is_missing_is_said_in_a_sentence(ask: Ask, given: str, said: str) -> None:
    done = ask("footfall_pipeline", home=given)
    assert done["run"] == "failed"
    assert said in done["said"]
    assert "Traceback" not in done["said"]


def test_without_footfall_a_dag_says_what_to_install(ask: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.glob("*.py"):
        # As if the name led nowhere; the rest of the file is as shipped.
        path.write_text(path.read_text().replace("    import steps\n", "    import steps_of_nobody as steps\n"))
    errors = ask(folder_of_dags=folder)["errors"]
    assert len(errors) == 3
    for text in errors.values():
        assert text.strip().splitlines()[-1].startswith("ImportError: footfall is not installed in Airflow's own")


def test_a_dag_file_loads_nothing_heavy() -> None:
    script = (
        "import sys, airflow.sdk, runpy; before = set(sys.modules)\n"
        "for path in sys.argv[1:]: runpy.run_path(path)\n"
        "print(*sorted({'duckdb', 'polars', 'pyarrow', 'kafka', 'config'} & (set(sys.modules) - before)))"
    )
    command = [sys.executable, "-c", script, *map(str, sorted(DAGS.glob("*.py")))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == ""
