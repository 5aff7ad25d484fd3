"""CORS: which origins may read an answer. Exact match only, never a star together with credentials."""

from __future__ import annotations

from typing import Final

from ingest.protocols.request import Source, Sources

Headers = tuple[tuple[str, str], ...]

ALLOWED_HEADERS: Final = (
    "Content-Type, Authorization, X-Retry-Count, X-Write-Key, X-IP-Policy, X-Enable-Debug, AnonymousId, "
    "SentAt, Rsa-Recovered, Rsa-Retry-Attempt, Rsa-Since-Last-Attempt, Rsa-Since-First-Attempt, "
    "Rsa-Retry-Reason, SP-Anonymous, x-umami-cache, X-Debug-Request"
)
VARY: Final[Headers] = (("vary", "origin"),)
EXPOSE: Final[Headers] = (("access-control-expose-headers", "Retry-After"),)
OPEN: Final[Headers] = (*VARY, ("access-control-allow-origin", "*"), *EXPOSE)
PREFLIGHT: Final[Headers] = (
    ("access-control-allow-methods", "GET, POST, OPTIONS"),
    ("access-control-allow-headers", ALLOWED_HEADERS),
    ("access-control-max-age", "7200"),
)


class Cors:
    """The CORS headers of every answer, worked out once for each listed origin."""

    def __init__(self, sources: Sources) -> None:
        self._listed: dict[str, Headers] = {
            origin: (
                *VARY,
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                *EXPOSE,
            )
            for origin in sources.origins
        }
        self._is_any_open = sources.is_any_open

    def headers(self, origin: str | None, source: Source | None) -> Headers:
        """For a known source its own list counts; before that, whether any source lists the origin."""
        if origin is None or origin == "null":
            return VARY
        if source is None:
            return self._listed.get(origin) or (OPEN if self._is_any_open else VARY)
        if origin in source.origins:
            return self._listed.get(origin, VARY)
        return OPEN if "*" in source.origins else VARY
