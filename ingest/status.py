"""What the collector says of itself: ready or not, and its counts."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ingest.protocols.request import Answer
from ingest.tally import PII, Tally


def ready(log: Path, *, is_failing: bool) -> Answer:
    """200, or 503 when the log cannot be written; both with the size of the log, which is the backlog."""
    segment_n, byte_n = backlog(log)
    is_ready = not is_failing and can_write(log)
    status = "ready" if is_ready else "log cannot be written"
    body = {"status": status, "log_segments": segment_n, "log_bytes": byte_n}
    return Answer(200 if is_ready else 503, msgspec.json.encode(body))


def metrics(log: Path, tally: Tally) -> Answer:
    """All workers' counts in the text format of Prometheus."""
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
    return Answer(200, ("\n".join(text) + "\n").encode(), "text/plain; version=0.0.4; charset=utf-8")


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
