"""The whole stack on this machine, to try it: Kafka, collector, forwarder and Airflow on one home; Ctrl-C ends all."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ingest.collector import check_port, end_with_parent
from stack import airflow, broker

FOOTFALL = [sys.executable, str(Path(__file__).parents[1] / "footfall.py")]
LONGEST_PAUSE = 30.0  # seconds between two starts of a part that keeps dying
STAYED_UP = 60.0  # seconds after which a death counts as the first one again


class UpError(Exception):
    """The stack cannot run; the message says why and how to mend it."""


class Command:
    """A command of footfall as a process of its own group; `is_ready` says when it serves."""

    def __init__(
        self, name: str, words: list[str], said: Path, env: Mapping[str, str], is_ready: Callable[[], bool]
    ) -> None:
        self.name, self.said = name, said
        self._words, self._env, self._is_ready = words, dict(env), is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.said.open("ab") as out:
            self._process = subprocess.Popen(
                [*FOOTFALL, *self._words],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        end = time.monotonic() + 60
        while not self._is_ready():
            if not self.is_up or time.monotonic() > end:
                self.stop()
                raise UpError(f"The {self.name} did not start: {_last(self.said)} ({self.said})")
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process and self.is_up:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


@dataclass
class Part:
    """One part of the stack: how to start and stop it, whether it is up, where it is reached."""

    name: str
    where: str
    start: Callable[[], None]
    stop: Callable[[], None]
    is_up: Callable[[], bool]
    said: Path
    revive: Callable[[], None] | None = None  # to start it again, where that is not `start`
    state: str = "waits"
    began: float = 0.0  # when it was last started
    took: float = 0.0  # seconds that its first start took
    deaths: int = 0
    again_at: float = 0.0


def main() -> int:
    """Run it as `make up` does; gives the exit code."""
    given = _arguments()
    console = Console()
    stop = Flag()
    for each in (signal.SIGINT, signal.SIGTERM):
        # This thread may be in stop.wait() with its lock, for which set() would wait here for ever.
        signal.signal(each, lambda *_: Thread(target=stop.set).start())
    try:
        for lack in (broker.missing(), airflow.missing()):
            if lack:
                raise UpError(lack)
        for port in (given.port, given.airflow_port):
            check_port("127.0.0.1", port)
        parts = _parts(given.home.absolute(), given.port, given.airflow_port, given.schedule)
    except Exception as error:
        console.print(str(error), style="red", highlight=False)
        return 1
    code = 0
    # A child that ends with its parent ends with the thread that started it: these live until all has ended.
    starters = ThreadPoolExecutor(len(parts))
    try:
        _start(parts, starters, console, stop)
        if not stop.is_set():
            _welcome(parts, given.home, given.schedule, console)
            _watch(parts, console, stop)
    except Exception as error:
        console.print(str(error), style="red", highlight=False)
        code = 1
    finally:
        began = time.monotonic()
        console.print("Ending …", highlight=False)
        # Airflow first, so that no task is cut off from what it reads; the collector answers until the end.
        for part in reversed(parts):
            part.stop()
        starters.shutdown()
        console.print(f"All has ended ({time.monotonic() - began:.0f} s); it goes on with: make up", highlight=False)
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make up", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("footfall-up"), help="where everything lives")
    parser.add_argument("--port", type=int, default=8080, help="the collector's port")
    parser.add_argument("--airflow-port", type=int, default=8090, help="the port of Airflow's pages")
    parser.add_argument(
        "--schedule", default="* * * * *", help="when Airflow lands, builds and publishes; empty: by hand"
    )
    return parser.parse_args()


def _parts(home: Path, port: int, airflow_port: int, schedule: str) -> list[Part]:
    if not (home / "footfall.toml").exists():
        done = subprocess.run([*FOOTFALL, "init", "--home", str(home)], capture_output=True, text=True)
        if done.returncode:
            raise UpError(done.stderr.strip())
    kafka = broker.Broker(home / "kafka")
    settings = home / "footfall.toml"
    if "\n[kafka]" not in (text := settings.read_text(encoding="utf-8")):
        # In the file, so that every command on this home knows it; the broker keeps its port.
        settings.write_text(f'{text}\n[kafka]\nbootstrap = ["{kafka.bootstrap}"]\n', encoding="utf-8")
    env = {**os.environ, "FOOTFALL_HOME": str(home)}
    url = f"http://127.0.0.1:{port}"
    collect = Command("collector", ["collect", "--port", str(port)], home / "collector.log", env, lambda: _answers(url))
    forward = Command("forwarder", ["forward"], home / "forwarder.log", env, lambda: forward.is_up)
    scheduler = airflow.Airflow(
        home / "airflow",
        home=home,
        port=airflow_port,
        is_scheduled=True,
        env={"FOOTFALL_SCHEDULE": schedule},
    )
    return [
        Part("collector", url, collect.start, collect.stop, lambda: collect.is_up, collect.said),
        Part("Kafka", kafka.bootstrap, kafka.start, kafka.stop, lambda: kafka.pid is not None, home / "kafka"),
        Part("forwarder", "log → Kafka", forward.start, forward.stop, lambda: forward.is_up, forward.said),
        Part(
            "Airflow",
            f"{scheduler.url}  user {airflow.USER}, password {airflow.PASSWORD}",
            lambda: scheduler.start(wait_s=750),
            scheduler.stop,
            lambda: scheduler.is_up,
            scheduler.said,
            scheduler.revive,
        ),
    ]


def _start(parts: list[Part], starters: ThreadPoolExecutor, console: Console, stop: Flag) -> None:
    """Start all side by side, the forwarder after Kafka, and show how far each is."""
    by_name = {part.name: part for part in parts}

    def begin(part: Part, after: Future[None] | None = None) -> None:
        if after:
            after.result()
        if stop.is_set():
            return
        part.state, part.began = "starts", time.monotonic()
        part.start()
        part.state, part.took = "runs", time.monotonic() - part.began
        if not console.is_terminal:
            console.print(f"{part.name} runs after {part.took:.0f} s", highlight=False)

    with Live(console=console, transient=True) as live:
        kafka = starters.submit(begin, by_name["Kafka"])
        waiting = {kafka, starters.submit(begin, by_name["forwarder"], kafka)}
        waiting |= {starters.submit(begin, by_name[name]) for name in ("collector", "Airflow")}
        while waiting and not stop.is_set():
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
            if console.is_terminal:
                live.update(_progress(parts))
            for each in done:
                each.result()


def _progress(parts: list[Part]) -> Table:
    table = Table(show_header=False, box=None)
    for part in parts:
        seconds = part.took if part.state == "runs" else time.monotonic() - part.began if part.began else 0.0
        style = {"runs": "green", "starts": "yellow", "waits": "dim"}[part.state]
        table.add_row(part.name, f"[{style}]{part.state}[/]", f"{seconds:.0f} s")
    return table


def _welcome(parts: list[Part], home: Path, schedule: str, console: Console) -> None:
    rows = [(part.name, part.where, _short(part.said)) for part in parts]
    rows.append(("tables", _short(home.absolute() / "bi.duckdb"), "once events have come; open it read-only"))
    width = max(len(where) for _, where, _ in rows)
    for name, where, what in rows:
        console.print(f"[bold]{name:<10}[/] {where:<{width}}  [dim]{what}[/]", highlight=False, soft_wrap=True)
    first = next((line for line in _lines(parts[0].said) if line.lstrip().startswith("curl ")), "").strip()
    console.print(f"\nA first event:\n{first}", highlight=False, soft_wrap=True)
    told = f"On the schedule {schedule} the" if schedule else "When you trigger it, the"
    console.print(
        f"{told} DAG footfall_pipeline lands, builds and publishes. Ctrl-C ends all.", highlight=False, soft_wrap=True
    )


def _watch(parts: list[Part], console: Console, stop: Flag) -> None:
    """Until `stop`: a part that died is said and started again, later each time."""
    while not stop.wait(0.5):
        for part in parts:
            if part.is_up():
                continue
            now = time.monotonic()
            if not part.again_at:
                part.deaths = 1 if now - part.began > STAYED_UP else part.deaths + 1
                pause = min(LONGEST_PAUSE, 2.0 ** (part.deaths - 1))
                part.again_at = now + pause
                console.print(f"{part.name} has died and is started again in {pause:.0f} s.", highlight=False)
            elif now >= part.again_at:
                part.again_at, part.began = 0.0, now
                try:
                    (part.revive or part.start)()
                except (UpError, broker.BrokerError) as error:
                    console.print(str(error), highlight=False)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/ready", timeout=2):
            return True
    except (URLError, OSError):
        return False


def _short(path: Path) -> str:
    return min(os.path.relpath(path), str(path), key=len)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def _last(path: Path) -> str:
    return next((line.strip() for line in reversed(_lines(path)) if line.strip()), "it said nothing")


if __name__ == "__main__":
    sys.exit(main())
