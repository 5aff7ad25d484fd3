"""A tree whose footfall is played: a process that has imported it once, and forks each command from itself.

Of a short command most is the start of Python and its imports, and a seed runs a dozen of them.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

# What the commands import when they run.
MODULES = (
    "footfall",
    "config",
    "repair",
    "ingest.from_kafka",
    "ingest.from_log",
    "ingest.land",
    "transforms.definitions",
    "transforms.flow",
    "transforms.publish",
    "rich.progress",
)
PR_SET_PDEATHSIG = 1
START_SECONDS = 120


class TreeError(Exception):
    """The tree's footfall cannot even be imported; the message is what Python said."""


class Fork:
    """A command that runs, with what is used of subprocess.Popen."""

    def __init__(self, connection: socket.socket, words: list[str]) -> None:
        self._words = words
        self._connection = connection
        self._said = connection.makefile("r")
        self.pid = int(self._said.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or minus its signal; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As `poll`, once it has ended. Raises subprocess.TimeoutExpired when it does not."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._words, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, which: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, which)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _end(self) -> None:
        self.returncode = int(self._said.readline())
        self._said.close()
        self._connection.close()


class Tree:
    """The tree at `root`; `library` is preloaded, and asleep until a command's environment wakes it. A context."""

    def __init__(self, root: Path, library: Path) -> None:
        self.root, self.library = root, library

    @property
    def environment(self) -> dict[str, str]:
        """For any process that is to run this tree's footfall."""
        return {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": ""}

    def __enter__(self) -> Tree:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # a name of the kernel's choice: a path might be too long
            listener.listen(16)
            self._address = listener.getsockname()
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(listener.fileno())],
                cwd=self.root,
                env={**self.environment, "LD_PRELOAD": str(self.library)},
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout
        said = self._process.stdout.readline()
        if said != "ready\n":
            raise TreeError(said + self._process.communicate()[0])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, words: list[str], said: Path, env: Mapping[str, str]) -> Fork:
        """Run `footfall` with these words, or a script after "-c", in a group of its own; what it says goes to `said`.

        `env` is added to the environment.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        task = {"words": words, "said": str(said), "env": {**self.environment, **env}}
        connection.sendall(json.dumps(task).encode() + b"\n")
        return Fork(connection, words)


def _serve(listener: socket.socket) -> None:
    """Fork for whoever connects, until the input ends: then the one who started this is gone."""
    for name in MODULES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            _watch(connection)
        connection.close()


def _watch(connection: socket.socket) -> NoReturn:
    """Start what is asked for, and tell its number and then its end."""
    _end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("r") as asked:
        task = json.loads(asked.readline())
    number = os.fork()
    if number == 0:
        connection.close()
        _run(**task)
    connection.sendall(b"%d\n" % number)
    _, status = os.waitpid(number, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _run(words: list[str], said: str, env: dict[str, str]) -> NoReturn:
    _end_with_parent()
    os.setsid()
    out = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), out, out)):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(env)
    ctypes.CDLL(None).power_begin()
    code: Any = 0
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(words[1], {"__name__": "__main__"})
        else:
            sys.argv = ["footfall", *words]
            importlib.import_module("footfall").main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
