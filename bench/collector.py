"""Requests a second at the collector, durable before the answer, beside a server that only reads and decodes.

Run: python bench/collector.py [--seconds 5] [--rounds 3] [--workers 1]

Both servers run on granian RSGI and are loaded in turns over 64 connections, by wrk where it is installed,
else by a raw asyncio client, which costs more of the shared cores. Runs on a shared machine differ by up to
2x: trust the ratios inside one table. `cpu` is the server's own processor time a request, which neighbours
disturb less than the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONNECTIONS = 64
KEY = "pk_bench"


def event(n: int) -> dict[str, Any]:
    """A page-bound track call as a browser's script sends it, about 500 bytes."""
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"ajs-next-1763805600000-3f0e7c2a-6e0f-4f4c-8c55-{n:012d}",
        "anonymousId": "3f0e7c2a-6e0f-4f4c-8c55-0c1f1cbb1d0a",
        "timestamp": "2026-11-22T10:00:00.123Z",
        "properties": {"product_id": "p1", "price": 12.5, "currency": "EUR"},
        "context": {
            "page": {"url": "https://shop.example/p/1", "path": "/p/1", "referrer": "", "title": "A product"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140",
            "library": {"name": "analytics.js", "version": "2.1"},
        },
    }


def request_of(event_n: int) -> tuple[str, bytes]:
    """Path and body."""
    if event_n == 1:
        return "/v1/track", json.dumps(event(1)).encode()
    body = {"batch": [event(n) for n in range(event_n)], "sentAt": "2026-11-22T10:00:00.200Z"}
    return "/v1/batch", json.dumps(body).encode()


# --- the two servers --------------------------------------------------------------------------------------


def serve_decode(port: int, workers: int) -> None:
    """Reads the body, decodes it, answers: what the same server can do at most."""
    import msgspec
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.log import LogLevels
    from granian.server.mp import MPServer

    class Decode:
        async def __rsgi__(self, _scope: Any, proto: Any) -> None:
            msgspec.json.decode(await proto())
            proto.response_bytes(200, [("content-type", "application/json")], b'{"success":true}')

    MPServer(
        "decode",
        port=port,
        workers=workers,
        interface=Interfaces.RSGI,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
    ).serve(target_loader=Decode, wrap_loader=False)


def serve_collector(port: int, workers: int, log: Path) -> None:
    from ingest.collector import Source, serve

    serve(log, [Source("bench", KEY)], clock=lambda: datetime.now(UTC), port=port, workers=workers)


# --- the load ---------------------------------------------------------------------------------------------


def load_with_wrk(port: int, path: str, body: bytes, seconds: int) -> tuple[float, float]:
    """Requests a second and p99 in ms."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method="POST" wrk.headers["X-Write-Key"]="{KEY}" wrk.body=[==[{body.decode()}]==]')
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", "-s", script.name]
        out = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True
        ).stdout
    if "Non-2xx" in out:
        raise SystemExit(f"the server refused requests:\n{out}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    if not rate or not p99:
        raise SystemExit(out)
    return float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]


async def load_by_hand(port: int, path: str, body: bytes, seconds: int) -> tuple[float, float]:
    """The same without wrk."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Write-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    message = head.encode() + body
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            writer.write(message)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode())
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    times.sort()
    return len(times) / seconds, times[int(len(times) * 0.99)] * 1000


def processor_seconds(parent: int) -> float:
    """User and system time of a process and its children."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    ticks = 0
    for pid in [str(parent), *children]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(server: str, event_n: int, seconds: int, workers: int, disk: Path) -> tuple[float, float, float]:
    """Requests a second, p99 in ms, processor time a request in us."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=disk) as home:
        command = [sys.executable, __file__, "--serve", server, str(port), str(workers), home]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)
        try:
            wait_for(port)
            path, body = request_of(event_n)
            before = processor_seconds(process.pid)
            if shutil.which("wrk"):
                rate, p99 = load_with_wrk(port, path, body, seconds)
            else:
                rate, p99 = asyncio.run(load_by_hand(port, path, body, seconds))
            spent = processor_seconds(process.pid) - before
        finally:
            process.terminate()
            process.wait(20)
    return rate, p99, spent / (rate * seconds) * 1e6


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(0.2)
            return
    raise SystemExit("the server did not start")


def fsync_ms(disk: Path) -> float:
    """Median time of an fsync of 4 KB."""
    times = []
    with tempfile.NamedTemporaryFile(dir=disk) as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return sorted(times)[25] * 1000


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        _, _, server, port, workers, home = sys.argv
        if server == "decode":
            serve_decode(int(port), int(workers))
        else:
            serve_collector(int(port), int(workers), Path(home) / "log")
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--disk", type=Path, default=Path.cwd(), help="where the log is written")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    tool = "wrk" if shutil.which("wrk") else "asyncio client"
    conditions = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"{os.cpu_count()} cores",
        f"load average before {os.getloadavg()[0]:.1f}",
        f"Python {sys.version.split()[0]}",
        f"fsync of 4 KB p50 {fsync_ms(options.disk):.1f} ms",
        f"{options.workers} worker(s)",
        f"{CONNECTIONS} connections",
        f"{tool} on the same cores",
        f"{options.rounds} rounds of {options.seconds} s",
    ]
    print(", ".join(conditions))
    print(f"{'server':<36}{'events':>7}{'req/s (min-max)':>20}{'events/s':>10}{'p99 ms':>9}{'cpu us/req':>12}")
    for event_n in (1, 20):
        results: dict[str, list[tuple[float, float, float]]] = {"decode": [], "collector": []}
        for _ in range(options.rounds):
            for server, runs in results.items():
                runs.append(measure(server, event_n, options.seconds, options.workers, options.disk))
        for server, runs in results.items():
            name = {"decode": "reads and decodes only", "collector": "collector, durable before answer"}[server]
            rate, p99, cpu = sorted(runs)[len(runs) // 2]
            low, high = min(runs)[0], max(runs)[0]
            shown = f"{rate:,.0f} ({low:,.0f}-{high:,.0f})"
            print(f"{name:<36}{event_n:>7}{shown:>20}{rate * event_n:>10,.0f}{p99:>9.1f}{cpu:>12.0f}")


if __name__ == "__main__":
    main()
