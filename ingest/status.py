"""What the collector says of itself: ready or not, and its counts."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ingest.cursor import Status, load_status
from ingest.protocols.request import Answer
from ingest.tally import PII, Tally


def ready(log: Path, *, is_failing: bool, forwards: bool, now: datetime) -> Answer:
    """200, or 503 when the log cannot be written; both with the size of the log.

    With `forwards` also how far Kafka is behind: "degraded" when events do not get there in time. It stays 200,
    since they are taken and safe.
    """
    segment_n, byte_n = backlog(log)
    is_ready = not is_failing and can_write(log)
    body: dict[str, Any] = {"status": "ready", "log_segments": segment_n, "log_bytes": byte_n}
    if forwards:
        found = load_status(log)
        trouble = found.trouble(now) if found else "no forwarder has run yet: start footfall forward"
        body["status"] = "degraded" if trouble else "ready"
        body["forward"] = {"problem": trouble, **_lag(found, now)}
    if not is_ready:
        body["status"] = "log cannot be written"
    return Answer(200 if is_ready else 503, msgspec.json.encode(body))


def metrics(log: Path, tally: Tally, *, forwards: bool, now: datetime) -> Answer:
    """All workers' counts in the text format of Prometheus; with `forwards`, how far Kafka is behind, too."""
    events, dropped = [], []
    for (fate, source, protocol, reason), n in tally.totals().items():
        labels = f'source="{source}",protocol="{protocol}"'
        if fate == PII:
            dropped.append(f"footfall_pii_dropped_total{{{labels}}} {n}")
        else:
            events.append(f'footfall_events_total{{fate="{fate}",{labels},reason="{reason}"}} {n}')
    segment_n, byte_n = backlog(log)
    text = [
        "# HELP footfall_events_total Events by fate; of refused requests each counts once.",
        "# TYPE footfall_events_total counter",
        *events,
        "# HELP footfall_pii_dropped_total Pieces that the PII rule took out of addresses.",
        "# TYPE footfall_pii_dropped_total counter",
        *dropped,
        "# HELP footfall_log_bytes Bytes of all segments of the log.",
        "# TYPE footfall_log_bytes gauge",
        f"footfall_log_bytes {byte_n}",
        "# TYPE footfall_log_segments gauge",
        f"footfall_log_segments {segment_n}",
    ]
    if forwards:
        found = load_status(log)
        text += [
            "# TYPE footfall_forward_up gauge",
            f"footfall_forward_up {int(bool(found and not found.trouble(now)))}",
        ]
        for name, value in _lag(found, now).items():
            text += [f"# TYPE footfall_forward_{name} gauge", f"footfall_forward_{name} {value}"]
    return Answer(200, ("\n".join(text) + "\n").encode(), "text/plain; version=0.0.4; charset=utf-8")


def _lag(found: Status | None, now: datetime) -> dict[str, float]:
    """What is on the log and not in Kafka yet, as the forwarder said last."""
    if found is None:
        return {}
    age = (now - found.oldest_at).total_seconds() if found.oldest_at else 0
    return {"lag_events": found.lag_n, "lag_bytes": found.lag_bytes, "lag_seconds": round(max(0, age), 3)}


def backlog(log: Path) -> tuple[int, int]:
    """Segments and bytes in the log."""
    segment_n = byte_n = 0
    for entry in os.scandir(log):
        try:
            byte_n += entry.stat().st_size
        except FileNotFoundError:  # it was released meanwhile
            continue
        segment_n += entry.name.endswith(".db")
    return segment_n, byte_n


def can_write(folder: Path) -> bool:
    """Whether a small file can be written and synced there."""
    probe = folder / f"probe-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True
