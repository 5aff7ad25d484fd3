"""Ports for what is started for a while."""

from __future__ import annotations

import socket


def free_ports(n: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    trials = [socket.socket() for _ in range(n)]
    try:
        for trial in trials:
            trial.bind(("127.0.0.1", 0))
        return [trial.getsockname()[1] for trial in trials]
    finally:
        for trial in trials:
            trial.close()
