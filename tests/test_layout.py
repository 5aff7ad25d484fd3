"""The house: who may import what, where names come from, and what no committed file may hold."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import warehouse

ROOT = Path(__file__).parents[1]
OURS = ("footfall", "config", "warehouse", "steps", "repair", "ingest", "transforms", "report", "demo", "stack")
FOLDERS = {".ci", "ingest", "sql", "transforms", "dags", "report", "demo", "tests", "bench", "docs", "stack", "faults"}

# Who may import what from footfall, beside itself; nobody imports footfall, dags, tests, bench or faults.
ALLOWED = {
    "config": set(),
    "warehouse": set(),
    "ingest": {"warehouse"},
    "transforms": {"warehouse"},
    "report": set(),
    "demo": set(),
    "stack": {"ingest"},
    "steps": {"config", "warehouse", "ingest", "transforms"},
    "faults": {"stack"},
    "repair": {"config", "warehouse", "steps", "ingest"},
    "footfall": {"config", "warehouse", "steps", "repair", "ingest", "transforms", "report", "demo"},
    "dags": {"steps"},
}
CALM = {"sql", "polars", "duckdb", "httpx", "requests", "urllib"}  # what no DAG file does itself


def committed() -> list[Path]:
    """The files of the repository as they stand, without what is ignored."""
    # The clone may belong to another user than the one who tests.
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def sources(name: str) -> list[Path]:
    return [path for path in (ROOT / f"{name}.py", *sorted((ROOT / name).rglob("*.py"))) if path.is_file()]


def imported(path: Path) -> Iterator[str]:
    """The top names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}: name the whole path of an import"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("name", ALLOWED)
def test_data_moves_one_way_so_imports_do(name: str) -> None:
    forbidden = {*OURS, "dags", "tests", "bench", "faults"} - ALLOWED[name] - {name}
    for path in sources(name):
        wrong = forbidden & set(imported(path))
        assert not wrong, f"{path.relative_to(ROOT)} must not import {', '.join(sorted(wrong))}"


def test_a_dag_is_a_schedule() -> None:
    for path in sources("dags"):
        assert not CALM & set(imported(path)), f"{path.relative_to(ROOT)} works itself instead of calling a step"
        others = {each.stem for each in sources("dags")} - {path.stem}
        assert not others & set(imported(path)), f"{path.relative_to(ROOT)} imports another DAG"


def test_only_the_front_door_reads_the_environment_and_the_clock() -> None:
    below = [path for name in ("config", "warehouse", "ingest", "transforms", "report") for path in sources(name)]
    for path in below:
        text = path.read_text(encoding="utf-8")
        found = re.search(r"os\.environ|getenv|datetime\.now\(|datetime\.utcnow\(|date\.today\(|time\.time\(", text)
        assert not found, f"{path.relative_to(ROOT)}: {found[0]} belongs to the entry point"


@pytest.mark.parametrize("name", OURS)
def test_our_import_names_come_from_this_repository(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_the_top_folders_are_those_of_the_design() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in committed() if path.parent != ROOT}
    assert found <= FOLDERS


def test_no_folder_hides_a_package() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in committed()}
    for name in ("sql", "dags", "tests", "bench"):
        assert not [each for each in files if each.startswith(f"{name}/") and each.endswith("__init__.py")]
    for name in files:
        words = set(Path(name).with_suffix("").parts)
        assert not words & {"utils", "util", "helpers", "common", "manager"}, name


@pytest.mark.parametrize("path", sorted((ROOT / "sql").glob("[1-9]_*/*.sql")), ids=lambda path: path.stem)
def test_a_file_under_sql_is_a_table_with_its_header_and_comments(path: Path) -> None:
    table = warehouse.read_table(path)
    assert (table.schema, table.name) == (path.parent.name[2:], path.stem)
    assert set(table.header) == set(warehouse.HEADERS)
    assert all(len(text) > 3 for text in table.header.values())
    assert all(len(column.comment) > 3 for column in table.columns)
    last = re.findall(r"^select\b.*", table.query or "", re.MULTILINE)[-1:]
    assert "*" not in "".join(last).replace("count(*)", ""), "the last select names its columns"
    assert not re.search(r"\b(now|current_timestamp|current_date|today)\b\s*\(?", table.query or "")


def test_warehouse_opens_with_every_table_and_comment() -> None:
    made = warehouse.open_warehouse(None)
    try:
        rows = made.execute("select schema_name || '.' || table_name from duckdb_tables() where not internal")
    finally:
        made.close()
    assert {row[0] for row in rows} >= set(warehouse.tables())


FORBIDDEN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(?:work|root)/\w",
            r"/tmp/\w+/\w",
            # What addresses of package registries look like, without naming one.
            r"https?://[^\s\"']*(?:registry|/simple/|/packages/|/maven\d?/|goproxy)",
            r"--index-url|--extra-index-url|\bresolved\":",
        )
    )
)


def test_no_committed_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in committed():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FORBIDDEN.finditer(text)]
    assert not found


def test_the_locked_files_hold_hashes_and_no_address() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert len(locks) == 6
    for path in locks:
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path.name
        pins = re.split(r"^(?=[\w.-]+(?:\[[\w,-]+\])?==)", text, flags=re.MULTILINE)[1:]
        assert pins
        assert all("--hash=sha256:" in pin for pin in pins), path.name


def test_starting_the_command_line_does_not_load_what_it_may_not_need() -> None:
    heavy = "{'duckdb', 'polars', 'pydantic', 'rich.progress'}"
    script = f"import sys, footfall; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
