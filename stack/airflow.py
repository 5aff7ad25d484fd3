"""One Airflow of its own, for trying and for the tests: what `airflow standalone` runs, in a folder, on free ports."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from ingest.collector import end_with_parent
from stack.ports import free_ports

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("airflow")
USER, PASSWORD = "admin", "footfall"
ENDED = {"success", "failed"}
LOCKED_TRIES = 5
PARTS = ("scheduler", "dag-processor", "triggerer", "api-server")


class AirflowError(Exception):
    """Airflow cannot run, or a run did not come to its end; the message says why and how to mend it."""


class Airflow:
    """An Airflow whose database, logs and output live in `folder`; it stands still until `start`.

    It runs the DAGs of this repository on `home`, by itself only where `is_scheduled`. `port` of 127.0.0.1 is a free
    one unless given. Ends with all its children on `stop`, and with the process that started it, however that ends.
    Also a context manager.
    """

    def __init__(
        self,
        folder: Path,
        *,
        home: Path | None = None,
        port: int | None = None,
        is_scheduled: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        free = free_ports(2)
        self.port = port or free[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.said = folder / "airflow.log"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Those that were killed count, too: what they started may live on.
        self._sessions: set[int] = set()
        self._token = ""
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
        self._env |= {
            "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "AIRFLOW_HOME": str(folder.absolute()),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__CORE__AUTH_MANAGER": (
                "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
            ),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(not is_scheduled),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder.absolute() / "passwords.json"),
            # On one machine nobody else's tasks are taken for orphans; those of a killed scheduler are found soon.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free[1]),
            "AIRFLOW__TRIGGERER__CAPACITY": "1",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # a busy machine answers late, and tasks would die of it
            **({} if is_scheduled else {"FOOTFALL_SCHEDULE": ""}),
            **({"FOOTFALL_HOME": str(home.absolute())} if home else {}),
            **(env or {}),
        }

    @property
    def is_up(self) -> bool:
        return bool(self._processes) and all(each.poll() is None for each in self._processes.values())

    def start(self, *, wait_s: float = 180) -> None:
        """Start, and return when it is healthy and knows the DAGs. Raises AirflowError with the end of what it said."""
        if lack := missing():
            raise AirflowError(lack)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "passwords.json").write_text(json.dumps({USER: PASSWORD}), encoding="ascii")
        with self.said.open("ab") as out:
            made = subprocess.run(
                [str(PROGRAM), "db", "migrate"], cwd=self.folder, env=self._env, stdout=out, stderr=out
            )
        end = time.monotonic() + wait_s
        if made.returncode == 0:
            self.revive()
            while time.monotonic() < end and self.is_up:
                if self._is_healthy():
                    return
                time.sleep(0.3)
        self.stop()
        raise AirflowError(f"Airflow did not start; what it said stands in {self.said}.")

    def revive(self) -> None:
        """Start what of it does not run; `airflow standalone` would go on without."""
        for name in PARTS:
            if name in self._processes and self._processes[name].poll() is None:
                continue
            with self.said.open("ab") as out:
                self._processes[name] = subprocess.Popen(
                    [str(PROGRAM), name],
                    cwd=self.folder,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
            self._sessions.add(self._processes[name].pid)

    def stop(self) -> None:
        """End it with every process that it started."""
        members = self.processes()
        _signal(members, signal.SIGTERM)
        end = time.monotonic() + 5
        while time.monotonic() < end and (members := self.processes() | {each for each in members if _runs(each)}):
            for each in self._processes.values():
                each.poll()
            time.sleep(0.1)
        _signal(members, signal.SIGKILL)
        for each in self._processes.values():
            each.wait()
        while any(_runs(each) for each in members):
            time.sleep(0.02)
        self._processes.clear()

    def processes(self) -> set[int]:
        """The numbers of all its processes."""
        return _members(self._sessions) if self._sessions else set()

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Begin a run of a DAG with these parameters; its id."""
        if self.ask("GET", f"dags/{dag_id}")["is_paused"]:
            self.ask("PATCH", f"dags/{dag_id}", {"is_paused": False})
        return str(self.ask("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, *, wait_s: float = 120) -> dict[str, str]:
        """Wait for the end of a run; the state of each task. Raises AirflowError when it does not end."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            if self.ask("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}")["state"] in ENDED:
                return self.tasks(dag_id, run_id)
            time.sleep(0.3)
        raise AirflowError(f"{dag_id} {run_id} did not end in {wait_s:.0f} s: {self.tasks(dag_id, run_id)}")

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str]:
        """The state of each task of a run."""
        found = self.ask("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances")["task_instances"]
        return {each["task_id"]: each["state"] for each in found}

    def clear(self, dag_id: str, run_id: str, *tasks: str) -> None:
        """Have tasks of a run run once more, with those that follow them."""
        told = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(tasks),
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self.ask("POST", f"dags/{dag_id}/clearTaskInstances", told)

    def log(self, dag_id: str, run_id: str, task: str, attempt: int = 1) -> str:
        """What a task said in one of its attempts."""
        answer = self.ask("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task}/logs/{attempt}")
        lines = [each if isinstance(each, str) else each.get("event", "") for each in answer["content"]]
        return "\n".join(lines)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What Airflow's REST API (v2) answers. Raises AirflowError where it refuses."""
        if not self._token:
            self._token = _json("POST", f"{self.url}/auth/token", {"username": USER, "password": PASSWORD})[
                "access_token"
            ]
        for _ in range(LOCKED_TRIES - 1):
            # Into SQLite one writes at a time: who has waited too long for the scheduler is refused, with nothing done.
            try:
                return _json(method, f"{self.url}/api/v2/{path}", body, self._token)
            except AirflowError as error:
                if "Database error" not in str(error):
                    raise
                time.sleep(1)
        return _json(method, f"{self.url}/api/v2/{path}", body, self._token)

    def __enter__(self) -> Airflow:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_healthy(self) -> bool:
        try:
            parts = _json("GET", f"{self.url}/api/v2/monitor/health")
            if any(parts[part]["status"] != "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return False
            wanted = {path.stem for path in (ROOT / "dags").glob("*.py")}
            return {each["dag_id"] for each in self.ask("GET", "dags")["dags"]} >= wanted
        except (OSError, AirflowError, KeyError):
            return False


def missing() -> str | None:
    """A sentence that says what this machine lacks for Airflow, and what brings it; None if it lacks nothing."""
    return None if PROGRAM.exists() else "Airflow is not here: make setup-airflow"


def _json(method: str, url: str, body: Mapping[str, Any] | None = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urlopen(Request(url, data, headers, method=method), timeout=60) as answer:
            return json.loads(answer.read())
    except HTTPError as error:
        raise AirflowError(f"Airflow answers {error.code} to {method} {url}: {error.read().decode()[:500]}") from None
    except URLError as error:
        raise AirflowError(f"Airflow does not answer at {url}: {error.reason}") from None


def _members(sessions: set[int]) -> set[int]:
    """The processes of these sessions: those that Airflow started, whatever group they put themselves into."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # After the name in brackets: state, parent, group, session.
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) in sessions and state != "Z":
            found.add(int(folder.name))
    return found


def _runs(number: int) -> bool:
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _signal(numbers: set[int], which: signal.Signals) -> None:
    for number in numbers:
        try:
            os.kill(number, which)
        except ProcessLookupError:
            continue
