"""The whole demo: simulate, import, send, land, build, publish, report, compare with the tally."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.compare import Cell, Compared, Number, compare
from demo.send import send
from demo.simulate import TIMEZONE, simulate
from demo.tally import Tally

WRITE_KEY = "pk_demo"
MARKER = ".made-by-footfall-demo"
SHOWN_DIFFERENCES = 20

# (done, total); total None: not known
Move: TypeAlias = Callable[[int, int | None], None]


class DemoError(Exception):
    """The demo cannot run, or its numbers differ; the message is a sentence for people."""


@dataclass(frozen=True)
class Landed:
    """What landing has done in all: events that are new, and repeats."""

    new_n: int
    duplicate_n: int
    rejected_n: int


@dataclass(frozen=True)
class Steps:
    """What the demo has done by the rest of footfall. Each is told a `Move` for its bar.

    `import_round` imports one file of JSON lines, `collector` runs a collector and awaits its url when called,
    `publish` gives the path of the published file, `report` that of the page.
    """

    import_round: Callable[[Path, Move], None]
    collector: Callable[[], AbstractContextManager[Callable[[], str]]]
    land: Callable[[Move], object]
    build: Callable[[Move], object]
    landed: Callable[[], Landed]
    publish: Callable[[Move], Path]
    report: Callable[[], Path]


def prepare(home: Path) -> None:
    """Make an empty home with the shop's footfall.toml; what is there is wiped only if the demo made it."""
    if home.exists():
        if not home.is_dir():
            raise DemoError(f"{home} is a file; name another folder with --home.")
        if any(home.iterdir()):
            if not (home / MARKER).exists():
                raise DemoError(
                    f"{home} holds something that the demo did not make, so it was left alone; "
                    "name another folder with --home."
                )
            shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).write_text("footfall demo made this folder, and wipes it when it runs again.\n")
    shutil.copyfile(Path(__file__).parent / "footfall.toml", home / "footfall.toml")


def furnish(home: Path) -> bool:
    """Make sure that the shop can be served from `home`; whether it had to be made, without any visitors.

    Raises DemoError where the demo did not make what is there.
    """
    if (home / MARKER).exists() and (home / "footfall.toml").exists():
        return False
    prepare(home)
    return True


def last_day(until: date | None, now: datetime) -> date:
    """The last day to simulate: `until`, else the last one that is over in the shop's time zone."""
    yesterday = now.astimezone(ZoneInfo(TIMEZONE)).date() - timedelta(days=1)
    if until and until > yesterday:
        raise DemoError(f"--until {until} is not over yet; the last day that is over is {yesterday}.")
    return until or yesterday


def run(
    home: Path,
    start: Callable[[Path], AbstractContextManager[Steps]],
    *,
    visitors: int,
    seed: int,
    until: date,
    program: str = "footfall",
    console: Console | None = None,
) -> None:
    """Run the demo into `home`. `start` makes the steps once the home is prepared.

    Raises DemoError at the end if any published number differs from the tally.
    """
    console = console or Console()
    began = time.monotonic()
    prepare(home)
    rounds = home / "rounds"
    rounds.mkdir()
    console.print(
        f"A small shop, {visitors:,} visitors, 91 days up to {until}, seed {seed}, in {home}",
        highlight=False,
        soft_wrap=True,
    )
    with _stage(console, "Simulate", "events") as move:
        simulation = simulate(rounds, visitors=visitors, seed=seed, until=until, progress=lambda _, n: move(n, None))
    tally = simulation.tally
    console.print(
        f"  of them {tally.late_n:,} come in a later round than their own, {tally.duplicate_n:,} come twice, "
        f"{tally.bot_event_n:,} are of programs, {simulation.live_event_n:,} come live",
        highlight=False,
        soft_wrap=True,
    )
    with start(home) as steps, steps.collector() as collector:
        for number, path in enumerate(simulation.rounds, start=1):
            with _stage(console, f"Import round {number} of {len(simulation.rounds)}", "events") as move:
                steps.import_round(path, move)
            with _stage(console, "Land", "events") as move:
                steps.land(move)
        with _stage(console, f"Send {until} over HTTP", "events") as move:
            send(collector(), simulation.visits, write_key=WRITE_KEY, progress=move)
        with _stage(console, "Land", "events") as move:
            steps.land(move)
        _build(console, steps)
        with _stage(console, "Publish", "tables") as move:
            bi = steps.publish(move)
        landed = steps.landed()
        with _stage(console, "Report", ""):
            report = steps.report()
    compared = [*_landing(tally, landed), *compare(tally, bi)]
    _write_cells(home / "tally.csv", compared)
    _show(console, compared)
    console.print(f"Every cell, number beside number: {home / 'tally.csv'}")
    console.print(f"{time.monotonic() - began:.1f} s in all. The report: {report}", highlight=False)
    _conclude(compared)
    console.print("What to do next:")
    for command in (
        f'{program} sql --home {home} "select channel, sum(order_n) orders, sum(revenue_amt) revenue '
        'from marts.traffic_daily group by channel order by revenue desc"',
        f"{program} demo --serve --home {home}",
        f"{program} doctor --home {home}",
        f"{program} collect --home {home}",
    ):
        console.print(f"  {escape(command)}", soft_wrap=True, highlight=False)


def _build(console: Console, steps: Steps) -> None:
    with _stage(console, "Build", "models") as move:
        steps.build(move)


@contextmanager
def _stage(console: Console, title: str, unit: str) -> Iterator[Move]:
    """One stage: a bar with units a second while it runs, one line when it is done."""
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TextColumn("{task.fields[said]}"))
    began, last = time.monotonic(), [0]
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=None, said="")

        def move(done: int, total: int | None) -> None:
            last[0] = done
            bar.update(task, completed=done, total=total, said=_speed(done, time.monotonic() - began, unit))

        yield move
    seconds = time.monotonic() - began
    console.print(f"{title:<34} {seconds:6.1f} s  {_speed(last[0], seconds, unit)}", highlight=False)


def _speed(done: int, seconds: float, unit: str) -> str:
    if not done or not unit:
        return ""
    speed = f", {done / seconds:,.0f}/s" if seconds > 0.05 and unit == "events" else ""
    return f"{done:,} {unit}{speed}"


def _landing(tally: Tally, landed: Landed) -> Iterator[Compared]:
    for column, told, found in (
        ("new_n", tally.event_n, landed.new_n),
        ("duplicate_n", tally.duplicate_n, landed.duplicate_n),
        ("rejected_n", 0, landed.rejected_n),
    ):
        yield Compared("landings", column, (Cell(("all",), told, found),))


def _write_cells(path: Path, compared: list[Compared]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("table", "column", "key", "tally", "published", "is_equal"))
        for each in compared:
            for cell in each.cells:
                key = " | ".join(str(part) for part in cell.key)
                rows.writerow((each.table, each.column, key, cell.tally, cell.published, cell.is_equal))


def _show(console: Console, compared: list[Compared]) -> None:
    table = Table(title="What the visitors did, and what was published", show_edge=False)
    table.add_column("published number", no_wrap=True)
    for name in ("complete cells", "Σ tally", "Σ published", "cells equal"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = ""
    for each in compared:
        if each.table != shown:
            table.add_row(f"[bold]{each.table}[/]")
            shown = each.table
        equal_n = len(each.cells) - len(each.different)
        table.add_row(
            f"  {each.column}",
            f"{len(each.cells):,}",
            _sum(cell.tally for cell in each.cells),
            _sum(cell.published for cell in each.cells),
            f"[green]{equal_n:,}[/]" if not each.different else f"[red]{equal_n:,}[/]",
        )
    console.print(table)
    for each in compared:
        for cell in each.different[:SHOWN_DIFFERENCES]:  # tally.csv has them all
            key = escape(", ".join(str(part) for part in cell.key))
            console.print(
                f"[red]{each.table}.{each.column}[/] {key}: tally {cell.tally}, published {cell.published}",
                highlight=False,
            )


def _sum(numbers: Iterable[Number]) -> str:
    total = sum(numbers)
    return f"{total:,}" if isinstance(total, int) else f"{total:,.2f}"


def _conclude(compared: list[Compared]) -> None:
    different_n = sum(len(each.different) for each in compared)
    if different_n:
        cell_n = sum(len(each.cells) for each in compared)
        raise DemoError(
            f"{different_n:,} of {cell_n:,} published numbers differ from what the visitors did; "
            "tally.csv in the demo's folder names them all."
        )
