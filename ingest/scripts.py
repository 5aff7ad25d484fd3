"""The tracker's built files as the collector serves them: /footfall.js and /footfall.<part>.js."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ingest.cors import Headers
from ingest.protocols.request import Answer

# An hour: a page that stays in use gets a new tracker within one, and asks for nothing in between.
HEADERS: Final[Headers] = (
    ("cache-control", "public, max-age=3600"),
    ("vary", "accept-encoding"),
    ("x-content-type-options", "nosniff"),
    ("access-control-allow-origin", "*"),
    ("cross-origin-resource-policy", "cross-origin"),
)


class Script(msgspec.Struct, frozen=True):
    """One file, read and compressed once."""

    plain: bytes
    packed: bytes
    etag: str


def read_scripts(folder: Path | None) -> dict[str, Script]:
    """Path of the URL → file, for each footfall*.js in the folder; none without a folder."""
    if folder is None:
        return {}
    found = {}
    for path in sorted(folder.glob("footfall*.js")):
        plain = path.read_bytes()
        packed = gzip.compress(plain, mtime=0)
        found[f"/{path.name}"] = Script(plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:16]}"')
    return found


def answer_script(script: Script, headers: Mapping[str, str]) -> tuple[Answer, Headers]:
    """The file, packed for whom takes that, or 304 for whom has it; and all headers but the content type."""
    tagged: Headers = (*HEADERS, ("etag", script.etag))
    if headers.get("if-none-match") == script.etag:
        return Answer(304), tagged
    kind = "text/javascript; charset=utf-8"
    if "gzip" in headers.get("accept-encoding", ""):
        return Answer(200, script.packed, kind), (*tagged, ("content-encoding", "gzip"))
    return Answer(200, script.plain, kind), tagged
