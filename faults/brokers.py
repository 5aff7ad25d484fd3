"""Kafka brokers that seeds take turns with: a broker costs more to make than a seed to play."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from stack.broker import Broker


class Brokers:
    """As many as are needed at once, each with a folder of its own in `folder`. A context, at whose end they end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Broker] = []
        self._idle: list[Broker] = []
        self._mutex = Lock()

    @contextmanager
    def lent(self) -> Iterator[Broker]:
        """One for a while, running or not; whoever has it may do anything to it, but to its folder."""
        with self._mutex:
            broker = self._idle.pop() if self._idle else None
        if not broker:
            with self._mutex:
                number = len(self._made)
                self._made.append(broker := Broker(self._folder / str(number), memory_mb=256))
        try:
            yield broker
        finally:
            with self._mutex:
                self._idle.append(broker)

    def __enter__(self) -> Brokers:
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self._made:
            broker.kill()
