"""The tracker's files as the collector serves them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ingest.scripts import answer_script, read_scripts

BUILT = Path(__file__).parents[2] / "ingest" / "tracker" / "built"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "footfall.js").write_text("core")
    (tmp_path / "footfall.errors.js").write_text("part")
    (tmp_path / "secret.js").write_text("not ours")
    (tmp_path / "footfall.js.map").write_text("not served")
    return tmp_path


def test_the_core_and_its_parts_are_served_and_nothing_else(folder: Path) -> None:
    assert sorted(read_scripts(folder)) == ["/footfall.errors.js", "/footfall.js"]
    assert read_scripts(None) == {}
    assert {"/footfall.js", "/footfall.left.js", "/footfall.survey.js"} <= set(read_scripts(BUILT))


def test_a_script_is_packed_for_whom_takes_that(folder: Path) -> None:
    script = read_scripts(folder)["/footfall.js"]
    plain, plain_headers = answer_script(script, {})
    packed, packed_headers = answer_script(script, {"accept-encoding": "gzip, br"})
    assert (plain.status, plain.body, plain.content_type) == (200, b"core", "text/javascript; charset=utf-8")
    assert gzip.decompress(packed.body) == b"core"
    assert ("content-encoding", "gzip") in packed_headers
    assert "content-encoding" not in dict(plain_headers)
    assert dict(plain_headers)["access-control-allow-origin"] == "*"
    assert dict(plain_headers)["vary"] == "accept-encoding"


def test_who_has_it_gets_nothing_again(folder: Path) -> None:
    script = read_scripts(folder)["/footfall.js"]
    answer, headers = answer_script(script, {"if-none-match": script.etag})
    assert (answer.status, answer.body) == (304, b"")
    assert dict(headers)["etag"] == script.etag
    (folder / "footfall.js").write_text("newer")
    assert read_scripts(folder)["/footfall.js"].etag != script.etag
