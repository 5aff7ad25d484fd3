"""Power cuts: `power.c` built and preloaded, and what it noted undone after the kill."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("power.c")
COMPILER = "cc"
HEAD = struct.Struct("=3q")


def build(folder: Path) -> Path:
    """The library built into `folder`; needs a C compiler."""
    library = folder / "power.so"
    if not library.exists():
        command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
        subprocess.run(command, check=True)
    return library


@dataclass(frozen=True)
class Power:
    """What processes under `home` write, noted from their start until `cut`."""

    library: Path
    home: Path
    notes: Path

    def environment(
        self,
        *,
        under: Path | None = None,
        die_at: int = 0,
        die_on: str = "",
        slow_ms: int = 0,
        trace: Path | None = None,
    ) -> dict[str, str]:
        """For a process whose writes (in `under`) are to be noted, and that may have to die at one.

        Turns count from 1 again.
        """
        self.notes.mkdir(exist_ok=True)
        self._turn.write_bytes(bytes(8))
        given = {
            "LD_PRELOAD": str(self.library),
            "POWER_UNDER": str(under or self.home),
            "POWER_JOURNAL": str(self.notes),
            "POWER_TURN": str(self._turn),
            "POWER_DIE_AT": str(die_at or ""),
            "POWER_DIE_ON": die_on,
            "POWER_SLOW": str(slow_ms or ""),
            "POWER_TRACE": str(trace or ""),
        }
        return {name: value for name, value in given.items() if value}

    def turns(self) -> int:
        """How many there were since the last `environment`."""
        return int.from_bytes(self._turn.read_bytes(), "little")

    def cut(self) -> int:
        """After the kill: take back what no sync had brought to the disk; how many writes that was.

        Sizes and bytes of files go back; names that came and went are taken as kept.
        """
        files = {path.stat().st_ino: path for path in self.home.rglob("*") if path.is_file()}
        undone = 0
        for note in self.notes.iterdir():
            path = files.get(int(note.name))
            records = list(_records(note.read_bytes())) if path else []
            if path and records:
                with path.open("r+b") as file:
                    for offset, old, size in reversed(records):
                        os.pwrite(file.fileno(), old, offset)
                        os.ftruncate(file.fileno(), size)
                        undone += 1
            note.unlink()
        for path in self.home.rglob("*-shm"):
            path.unlink()
        return undone

    @property
    def _turn(self) -> Path:
        return self.notes.with_name(self.notes.name + ".turn")


def _records(notes: bytes) -> list[tuple[int, bytes, int]]:
    """Offset, old bytes and old size of each write; one that was noted by half never happened."""
    found, at = [], 0
    while at + HEAD.size <= len(notes):
        offset, length, size = HEAD.unpack_from(notes, at)
        at += HEAD.size
        if at + length > len(notes):
            break
        found.append((offset, notes[at : at + length], size))
        at += length
    return found
