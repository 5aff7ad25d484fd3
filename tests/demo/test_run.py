"""The demo promises: it wipes only its own folder, and fails where a published number is not the tally's."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

import footfall
from demo.compare import compare
from demo.run import DemoError, last_day, prepare, run
from demo.simulate import simulate

UNTIL = date(2026, 11, 20)
VISITORS = 150


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoError, match="left alone"):
        prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(DemoError, match="is a file"):
        prepare(path)


def test_the_demos_own_folder_is_wiped(tmp_path: Path) -> None:
    home = tmp_path / "home"
    prepare(home)
    (home / "old").write_text("of the run before")
    prepare(home)
    assert not (home / "old").exists()
    assert (home / "footfall.toml").exists()


def test_the_last_day_is_over_where_the_shop_is() -> None:
    late = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)  # half past midnight in Amsterdam
    assert last_day(None, late) == date(2026, 7, 1)
    assert last_day(date(2026, 5, 1), late) == date(2026, 5, 1)
    with pytest.raises(DemoError, match="not over yet"):
        last_day(date(2026, 7, 2), late)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A whole small demo with the real import, collector, build and publishing; its home and what it said."""
    home = tmp_path_factory.mktemp("demo") / "home"
    said = StringIO()
    console = Console(file=said, width=100)
    run(home, footfall._demo_steps, visitors=VISITORS, seed=5, until=UNTIL, console=console)
    return home, said.getvalue()


def test_every_complete_cell_is_equal(finished: tuple[Path, str]) -> None:
    home, said = finished
    with (home / "tally.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["is_equal"] for row in rows} == {"True"}
    for name in (
        "traffic_daily",
        "traffic_totals",
        "funnel_steps",
        "retention_cells",
        "journey_edges",
        "heatmap_elements",
        "friction_pages",
        "scroll_reach",
    ):
        assert sum(float(row["published"]) > 0 for row in rows if row["table"] == name) > 20
    assert said.count("footfall ") >= 3


def test_one_wrong_number_is_found(finished: tuple[Path, str], tmp_path: Path) -> None:
    home, _ = finished
    copy = tmp_path / "bi.duckdb"
    shutil.copyfile(home / "bi.duckdb", copy)
    tally = simulate(tmp_path, visitors=VISITORS, seed=5, until=UNTIL).tally
    with duckdb.connect(str(copy)) as con:
        changed = con.execute(
            "update marts.funnel_steps set reached_n = reached_n + 1 "
            "where period_start = (select min(period_start) from marts.funnel_steps where reached_n > 0) "
            "and step_no = 1 returning period_start"
        ).fetchall()
        con.execute("delete from marts.journey_paths where date = (select max(date) from marts.journey_paths)")
    found = {(each.table, cell.key): cell for each in compare(tally, copy) for cell in each.different}
    wrong = found.pop(("funnel_steps", (changed[0][0], 1)))
    assert wrong.published == wrong.tally + 1
    assert found
    assert {table for table, _ in found} == {"journey_paths"}
    assert {cell.published for cell in found.values()} == {0}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--until", "2999-01-01"], "not over yet"), ([], "the demo did not make, so it was left alone")],
)
def test_the_command_says_why_it_cannot(tmp_path: Path, options: list[str], sentence: str) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    command = [sys.executable, footfall.__file__, "demo", "--home", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
