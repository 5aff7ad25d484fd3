"""The collector: a port, its workers, and their life. What one does with a request stands in receive.py."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ingest.body import Limits
from ingest.protocols import ROUTES
from ingest.protocols.request import Source, Sources
from ingest.receive import Receiver, Setting
from ingest.tally import Tally

__all__ = ["CollectorError", "Limits", "Source", "check_port", "end_with_parent", "serve"]


class CollectorError(Exception):
    """The collector cannot start or go on; the message says why and how to mend it."""


def serve(
    home_log: Path,
    sources: Sequence[Source],
    *,
    clock: Callable[[], datetime],
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    limits: Limits | None = None,
    segment_bytes: int = 64 * 1024 * 1024,
    segment_seconds: float = 600,
    trusted_proxies: Sequence[str] = (),
    forwards: bool = False,
    tracker: Path | None = None,
) -> None:
    """Collect into the log folder until SIGTERM or SIGINT; requests in flight are finished.

    `clock` gives aware UTC; `trusted_proxies` are networks whose X-Forwarded-For is believed; `forwards`
    says that a forwarder is to take events on to Kafka, which /ready and /metrics then tell of; `tracker` is the
    folder of /footfall.js and its parts. Raises CollectorError: the port is taken, the log cannot be
    written, or the workers die again and again. Runs in the main thread, because it takes the signals.
    """
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server.mp import MPServer

    limits = limits or Limits()
    check_port(host, port)
    try:
        home_log.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CollectorError(
            f"The log {home_log} cannot be made ({error.strerror}). Make its folder writable."
        ) from None
    if not os.access(home_log, os.W_OK | os.X_OK):
        raise CollectorError(f"The log {home_log} cannot be written. Make it writable for this user.")
    tally = Tally([source.name for source in sources], sorted({route.protocol for route in ROUTES.values()}), workers)
    setting = Setting(
        log=home_log,
        sources=Sources(sources),
        limits=limits,
        clock=clock,
        tally=tally,
        segment_bytes=segment_bytes,
        segment_seconds=segment_seconds,
        trusted_proxies=tuple(ip_network(text) for text in trusted_proxies),
        forwards=forwards,
        tracker=tracker,
        is_salted=any(source.id_storage == "none" for source in sources),
        workers=workers,
    )
    parent = os.getpid()
    next_worker = [0]

    class Collecting(MPServer):
        def _spawn_worker(self, *args: Any, **named: Any) -> Any:
            next_worker[0] = named["idx"]  # the worker is forked right after, and so finds its own number
            return super()._spawn_worker(*args, **named)

    def load() -> Any:
        follow(parent)
        tally.claim(next_worker[0])
        # Requests make no cycles worth a search through all that the program has loaded.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        return Receiver(setting)

    multiprocessing.set_start_method("fork", force=True)  # the workers share the tally's memory
    server = Collecting(
        "footfall",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        workers=workers,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4096,
        backpressure=8192,
        http1_settings=HTTP1Settings(header_read_timeout=int(limits.header_seconds * 1000)),
        log_level=LogLevels.error,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=15,
    )
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit as end:
        if end.code:
            raise CollectorError("The collector's workers died again and again; see the lines above.") from None


def check_port(host: str, port: int) -> None:
    """Raises CollectorError if somebody listens there: the server would share the port silently."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as test:
            test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            test.bind(address)
    except OSError as error:
        raise CollectorError(
            f"Cannot listen on {host} port {port}: {error.strerror}. "
            "End the program that uses it, or take another --port."
        ) from None


def end_with_parent() -> None:
    """Lets this process have SIGTERM when the one that started it ends, however it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def follow(parent: int) -> None:
    """Lets this worker end with its parent, even if that is killed: SIGTERM at once, the end after 10 s."""
    end_with_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(1)

    threading.Thread(target=watch, name="footfall-follow", daemon=True).start()
