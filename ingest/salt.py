"""The salt of the day behind cookieless ids: a 0600 file that all workers share, overwritten the next day."""

from __future__ import annotations

import fcntl
import os
import secrets
from datetime import date
from pathlib import Path


def salt_of(path: Path, day: date) -> bytes:
    """The 32 random bytes of `day` (UTC); the first to ask on a day makes them, and the old ones are gone.

    Of a file from another day, earlier or later, nothing is used: a clock that steps gives new ids, never old
    ones. Raises OSError.
    """
    with open(path.with_suffix(".lock"), "a", opener=_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            kept_day, _, kept = path.read_text(encoding="ascii", errors="replace").partition(" ")
            if kept_day == day.isoformat() and len(kept) == 64:
                return bytes.fromhex(kept)
        salt = secrets.token_bytes(32)
        fresh = path.with_suffix(".new")
        with open(fresh, "w", opener=_private) as file:
            file.write(f"{day.isoformat()} {salt.hex()}")
        fresh.replace(path)
        return salt


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
