"""The forwarder's place is kept whole, and what it says of itself is judged by its age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ingest.cursor import CURSOR, Cursor, Place, Status, load_cursor, load_status
from ingest.status import ready

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def status(**more: object) -> Status:
    given = {"at": NOW, "problem": "", "sent_n": 5, "lag_n": 0, "lag_bytes": 0, "oldest_at": None}
    return msgspec.convert(given | more, Status)


def test_a_cursor_comes_back_as_it_was(tmp_path: Path) -> None:
    cursor = Cursor("events", "an-id", {"a-1": Place(7, True, NOW), "b-2": Place()})
    cursor.save(tmp_path)
    assert load_cursor(tmp_path, "events") == (cursor, "")
    assert (tmp_path / CURSOR).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [CURSOR]


def test_a_broken_cursor_means_from_the_start_and_says_so(tmp_path: Path) -> None:
    assert load_cursor(tmp_path, "events") == (Cursor("events"), "")
    (tmp_path / CURSOR).write_bytes(b'{"topic":"events","pla')
    cursor, said = load_cursor(tmp_path, "events")
    assert cursor == Cursor("events")
    assert "all that the log holds is sent again" in said


@pytest.mark.parametrize(
    ("found", "state", "problem"),
    [
        (None, "degraded", "no forwarder has run yet: start footfall forward"),
        (status(), "ready", ""),
        (status(lag_n=3, oldest_at=NOW - 10 * SECOND), "ready", ""),
        (status(lag_n=3, oldest_at=NOW - 90 * SECOND), "degraded", "the forwarder is 90 s behind"),
        (status(problem="Kafka is down."), "degraded", "Kafka is down."),
        (status(at=NOW - 20 * SECOND), "degraded", "no forwarder has run since 2026-11-22 09:59:40 UTC"),
    ],
)
def test_ready_tells_of_the_forwarder(tmp_path: Path, found: Status | None, state: str, problem: str) -> None:
    if found:
        found.save(tmp_path)
    assert load_status(tmp_path) == found
    answer = ready(tmp_path, is_failing=False, forwards=True, now=NOW)
    said = msgspec.json.decode(answer.body)
    assert (answer.status, said["status"]) == (200, state)
    assert said["forward"]["problem"].startswith(problem)
    assert said["forward"].get("lag_events") == (found.lag_n if found else None)
    assert "forward" not in msgspec.json.decode(ready(tmp_path, is_failing=False, forwards=False, now=NOW).body)
