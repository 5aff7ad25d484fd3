"""One request: route, body, protocol, group commit, answer. The RSGI application of a worker."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from ingest.body import RETRY_AFTER, Bodies, Limits, Refused
from ingest.commit import GroupCommit
from ingest.cors import PREFLIGHT, Cors, Headers
from ingest.event import Fate, Reason, Rejection, encode, keep, write_time
from ingest.log import LogFull, Writer
from ingest.privacy import Network, client_ip, peer_of
from ingest.protocols import ROUTES, find_route
from ingest.protocols.request import Answer, Outcome, Request, Route, Source, Sources, error_answer
from ingest.rate import Rate
from ingest.salt import salt_of
from ingest.scripts import answer_script, read_scripts
from ingest.status import metrics, ready
from ingest.tally import PII, Refusal, Tally

TARGET_BYTES: Final = 16 * 1024
FAILING_SECONDS: Final = 5
GROUND: Final[Headers] = (("x-content-type-options", "nosniff"), ("cache-control", "no-store"))


def share(rate: int | None, workers: int) -> float | None:
    """A worker's part of a rate: the kernel spreads connections over the workers about evenly."""
    return None if rate is None else rate / workers


class Setting(msgspec.Struct, frozen=True):
    """All that a worker needs to know."""

    log: Path
    sources: Sources
    limits: Limits
    clock: Callable[[], datetime]
    tally: Tally
    segment_bytes: int
    segment_seconds: float
    trusted_proxies: tuple[Network, ...]
    forwards: bool
    tracker: Path | None
    is_salted: bool
    workers: int


class Receiver:
    """The RSGI application of one worker."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._limits = setting.limits
        self._sources = setting.sources
        self._cors = Cors(setting.sources)
        self._count = setting.tally.count
        self._clock = setting.clock
        self._bodies = Bodies(setting.limits, setting.limits.bodies_bytes // setting.workers)
        self._key_rate = Rate(share(setting.limits.rate_per_key, setting.workers))
        self._address_rate = Rate(share(setting.limits.rate_per_address, setting.workers))
        self._scripts = read_scripts(setting.tracker)
        self._failed_at = 0.0
        self._salt: tuple[date | None, bytes] = (None, b"")

    # --- the life of a worker -----------------------------------------------------------------------------

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._writer = Writer(
            self._setting.log,
            segment_bytes=self._setting.segment_bytes,
            segment_seconds=self._setting.segment_seconds,
            clock=self._clock,
        )
        self._commit = GroupCommit(self._writer, loop)
        self._bodies.watch(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._commit.close()
        self._writer.close()

    # --- one request --------------------------------------------------------------------------------------

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        origin: str | None = None
        route: Route | None = None
        try:
            origin = scope.headers.get("origin")
            path = scope.path
            route = ROUTES.get(path) or find_route(path)
            if scope.method == "OPTIONS":
                proto.response_empty(204, [*GROUND, *self._cors.headers(origin, None), *PREFLIGHT])
            elif route is None:
                await self._serve_page(scope, proto, origin)
            else:
                await self._take(scope, proto, route, origin)
        except Refused as refused:
            self._count(Fate.REFUSED, "", route.protocol if route else "", refused.reason)
            self._send(proto, refused.answer, origin, None, refused.headers)
        except Exception as error:  # whatever it is, the client hears a number it knows, and no traceback
            print(f"footfall: a request failed inside the collector: {type(error).__name__}", file=sys.stderr)
            self._count(Fate.REFUSED, "", route.protocol if route else "", Refusal.FAULT)
            answer = error_answer(503, Refusal.FAULT, "the collector failed on this request; try again later")
            self._send(proto, answer, origin, None, RETRY_AFTER)

    async def _take(self, scope: Any, proto: Any, route: Route, origin: str | None) -> None:
        if scope.method not in route.methods:
            allow = ", ".join(route.methods)
            raise Refused(Refusal.METHOD_NOT_ALLOWED, 405, f"this address takes {allow}", (("allow", allow),))
        query_string = scope.query_string
        if len(query_string) + len(scope.path) > TARGET_BYTES:
            raise Refused(Refusal.BAD_REQUEST, 400, f"the address is longer than {TARGET_BYTES} bytes")
        try:
            headers = dict(scope.headers.items())
            query = {}
            if query_string:
                for key, value in reversed(parse_qsl(query_string, keep_blank_values=True, max_num_fields=1000)):
                    query[key] = value
        except ValueError:
            raise Refused(Refusal.BAD_REQUEST, 400, "the address or a header cannot be read") from None
        ip = client_ip(peer_of(scope.client), headers.get("x-forwarded-for"), self._setting.trusted_proxies)
        if not self._address_rate.allows(ip, 1, time.monotonic()):
            raise self._too_many("this address")
        body, held = b"", 0
        if route.reads_body:
            body, held = await self._bodies.read(proto, headers, route.too_large)
        try:
            outcome, now = self._handle(scope, route, query, headers, body, ip)
            del body
            await self._settle(outcome, now, proto, origin)
        finally:
            self._bodies.release(held)

    def _handle(
        self, scope: Any, route: Route, query: dict[str, str], headers: dict[str, str], body: bytes, ip: str
    ) -> tuple[Outcome, datetime]:
        now = self._clock()
        try:
            request = Request(
                method=scope.method,
                path=scope.path,
                query=query,
                headers=headers,
                body=body,
                received_at=now,
                ip=ip,
                salt=self._salt_of(now) if self._setting.is_salted else b"",
                sources=self._sources,
                event_bytes=self._limits.event_bytes,
                inflated_bytes=self._limits.inflated_bytes,
            )
            return route.handle(request), now
        except Exception as error:  # a fault of ours must not cost the client its events: their bytes are kept
            detail = f"footfall could not read the request: {type(error).__name__}"
            rejection = Rejection(
                reason=Reason.ADAPTER_ERROR,
                detail=detail,
                bytes=keep(body),
                received_at=write_time(now),
                protocol=route.protocol,
            )
            rejected = [{"index": 0, "reason": rejection.reason, "detail": detail}]
            answer = Answer(200, msgspec.json.encode({"success": True, "rejected": rejected}))
            return Outcome(answer, route.protocol, rejections=[rejection]), now

    async def _settle(self, outcome: Outcome, now: datetime, proto: Any, origin: str | None) -> None:
        """Counts what the protocol decided; what is to be stored is on disk before the answer goes out."""
        source = outcome.source.name if outcome.source else ""
        headers: Headers = ()
        answer = outcome.answer
        if outcome.events or outcome.rejections:
            n = len(outcome.events) + len(outcome.rejections)
            if self._key_rate.allows(source, n, time.monotonic()):
                refused = await self._store(outcome, source, now)
            else:
                refused = self._too_many("this key")
            if refused is not None:
                self._count(Fate.REFUSED, source, outcome.protocol, refused.reason)
                answer, headers = refused.answer, refused.headers
        for reason, n in outcome.declined.items():
            self._count(Fate.DECLINED, source, outcome.protocol, reason, n)
        if outcome.refused is not None:
            self._count(Fate.REFUSED, source, outcome.protocol, outcome.refused)
        self._send(proto, answer, origin, outcome.source, headers)

    async def _store(self, outcome: Outcome, source: str, now: datetime) -> Refused | None:
        """None when all is on disk and counted; else why nothing is."""
        lines = [encode(event) for event in outcome.events]
        stored_n = len(lines)
        pii_n = 0
        for event in outcome.events:
            if (extra := event.context.get("extra")) and "pii_dropped_n" in extra:
                pii_n += extra["pii_dropped_n"]
        reasons = [rejection.reason for rejection in outcome.rejections]
        lines += [encode(rejection) for rejection in outcome.rejections]
        # While they wait, only the lines are kept, and these may be many times the body that came compressed.
        outcome.events.clear()
        outcome.rejections.clear()

        def count() -> None:
            self._failed_at = 0.0
            if stored_n:
                self._count(Fate.STORED, source, outcome.protocol, "", stored_n)
            if pii_n:
                self._count(PII, source, outcome.protocol, "", pii_n)
            for reason in reasons:
                self._count(Fate.REJECTED, source, outcome.protocol, reason)

        try:
            held = self._bodies.hold(sum(map(len, lines)))
        except Refused as refused:
            return refused
        try:
            await self._commit.store(lines, now, count)
        except Exception as error:
            if not isinstance(error, LogFull):
                print(f"footfall: the log failed: {type(error).__name__}", file=sys.stderr)
            self._failed_at = time.monotonic()
            message = "the log cannot be written, nothing was kept; try again later"
            return Refused(Refusal.LOG_FULL, 503, message, RETRY_AFTER)
        finally:
            self._bodies.release(held)
        return None

    def _too_many(self, who: str) -> Refused:
        message = f"more than {who} may send; slow down"
        return Refused(Refusal.RATE_LIMITED, 429, message, RETRY_AFTER)

    def _send(
        self, proto: Any, answer: Answer, origin: str | None, source: Source | None, headers: Headers = ()
    ) -> None:
        proto.response_bytes(
            answer.status,
            [("content-type", answer.content_type), *GROUND, *self._cors.headers(origin, source), *headers],
            answer.body,
        )

    def _salt_of(self, now: datetime) -> bytes:
        day = now.date()
        if self._salt[0] != day:
            self._salt = (day, salt_of(self._setting.log.parent / "daily.salt", day))
        return self._salt[1]

    # --- what is no protocol ------------------------------------------------------------------------------

    async def _serve_page(self, scope: Any, proto: Any, origin: str | None) -> None:
        path = scope.path.rstrip("/")
        if scope.method not in ("GET", "HEAD"):
            raise Refused(Refusal.NOT_FOUND, 404, "no protocol is mounted at this address")
        if path == "/health":
            answer = Answer(200, b'{"status":"ok"}')
        elif path == "/ready":
            answer = await self._loop.run_in_executor(None, self._ready)
        elif path == "/metrics":
            answer = await self._loop.run_in_executor(None, self._metrics)
        elif script := self._scripts.get(path):
            answer, headers = answer_script(script, scope.headers)
            proto.response_bytes(answer.status, [("content-type", answer.content_type), *headers], answer.body)
            return
        else:
            raise Refused(Refusal.NOT_FOUND, 404, "no protocol is mounted at this address")
        self._send(proto, answer, origin, None, () if answer.status < 500 else RETRY_AFTER)

    def _ready(self) -> Answer:
        # Nobody may write for a while after a failure, so an old one is no proof that the disk is still full.
        is_failing = self._failed_at > 0 and time.monotonic() - self._failed_at < FAILING_SECONDS
        return ready(self._setting.log, is_failing=is_failing, forwards=self._setting.forwards, now=self._clock())

    def _metrics(self) -> Answer:
        setting = self._setting
        return metrics(setting.log, setting.tally, forwards=setting.forwards, now=self._clock())
