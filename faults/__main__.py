"""The fault table: `make faults` plays every fault with many seeds and writes docs/faults.md.

Run: python -m faults [NAME ...] [--share 0.1] [--jobs 2] [--folder DIR]

Without names it plays all, each --share of its seeds, and the mutations; with names only those. The rows of what was
played take the place of those that the page has. A failed seed keeps its folder.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from rich.progress import track

from faults import power
from faults.brokers import Brokers
from faults.catalogue import FAULTS, Fault
from faults.mutations import MUTATIONS, Mutation, first_red
from faults.play import play
from faults.stage import HERE, Result
from faults.tree import Tree

PAGE = HERE / "docs" / "faults.md"
BEGIN, END = "<!-- made by make faults -->\n", "<!-- end -->\n"
LIBRARIES = ("duckdb", "granian", "kafka-python", "polars")

COLUMNS = (
    "",
    "fault",
    "N",
    "events acknowledged",
    "lost",
    "doubled",
    "other breaches",
    "at most, at 95 %",
    "recovery, median (max)",
    "commit",
)
MUTATION_COLUMNS = ("", "switched off", "seen by", "at seed", "what is seen", "commit")
PLACE = re.compile(r"(/[\w.-]+)+/")  # folders, which are those of one machine
NAMED = re.compile(r"^\|[^|]*\| `(\w+)`")

Job = TypeVar("Job")
Done = TypeVar("Done")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m faults")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*FAULTS, *MUTATIONS])}")
    parser.add_argument("--share", type=float, default=1.0, help="of each fault's seeds; at least one is played")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time")
    parser.add_argument("--folder", type=Path, help="where to play; a temporary one by default")
    given = parser.parse_args()
    unknown = set(given.names) - FAULTS.keys() - MUTATIONS.keys()
    if unknown:
        sys.exit(f"There is no fault {', '.join(sorted(unknown))}.")
    _commit()  # what is changed while it runs is not what was played
    folder = given.folder or Path(tempfile.mkdtemp(prefix="footfall-faults-"))
    faults = [fault for name, fault in FAULTS.items() if not given.names or name in given.names]
    mutations = [each for name, each in MUTATIONS.items() if not given.names or name in given.names]

    folder.mkdir(parents=True, exist_ok=True)
    library = power.build(folder)

    def play_one(job: tuple[Fault, int]) -> Result:
        fault, seed = job
        place = folder / f"{fault.name}-{seed}"
        try:
            result = play(fault, seed, place, tree, brokers)
        except Exception as error:  # the harness itself failed: told with its seed, and the others go on
            result = Result(0, 0, 0, 0, 0.0, (f"{type(error).__name__}: {error}",))
        if result.is_good:
            shutil.rmtree(place)
        else:
            print(f"{place}: {result}", file=sys.stderr)
        return result

    def mutate_one(mutation: Mutation) -> tuple[int, Result] | None:
        place = folder / f"mutation-{mutation.fault}-{mutations.index(mutation)}"
        red = first_red(mutation, place, library, brokers)
        shutil.rmtree(place)
        return red

    jobs = [(fault, seed) for fault in faults for seed in range(1, max(1, round(fault.seeds * given.share)) + 1)]
    # A child that ends with its parent ends with the thread that started it: all work is done by these few.
    with Tree(HERE, library) as tree, Brokers(folder / "brokers") as brokers, ThreadPoolExecutor(given.jobs) as pool:
        results = list(zip(jobs, _all(pool, play_one, jobs, "Faults"), strict=True))
        reds = dict(zip(mutations, _all(pool, mutate_one, mutations, "Mutations"), strict=True))
    rows = {fault.name: _row(fault, [result for (each, _), result in results if each is fault]) for fault in faults}
    rows |= {
        name: _mutation_row(name, mutation, reds[mutation]) for name, mutation in MUTATIONS.items() if mutation in reds
    }
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    kept = {words[0]: line for line in old.splitlines() if (words := NAMED.findall(line))}
    table = "\n".join(
        (
            f"Last run: {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
            + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
            + f", {platform.system()} {platform.release()}, {given.jobs} at a time.\n",
            *_table(COLUMNS, FAULTS, rows, kept),
            *_table(MUTATION_COLUMNS, MUTATIONS, rows, kept),
        )
    )
    print(table)
    PAGE.write_text(before + BEGIN + "\n" + table + "\n" + END + after, encoding="utf-8")
    bad = [result for _, result in results if not result.is_good]
    green = [mutation.about for mutation, red in reds.items() if red is None]
    if bad or green:
        sys.exit(f"{len(bad)} seeds broke a promise; not seen when switched off: {', '.join(green) or 'none'}.")


def _all(pool: ThreadPoolExecutor, work: Callable[[Job], Done], jobs: list[Job], title: str) -> list[Done]:
    return list(track(pool.map(work, jobs), title, total=len(jobs)))


def _table(columns: Iterable[str], names: Iterable[str], rows: dict[str, str], kept: dict[str, str]) -> list[str]:
    """In the order of `names`: the rows of this run, else the page's own."""
    some = [row for name in names if (row := rows.get(name) or kept.get(name))]
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(tuple(columns)), *some, ""]


def _row(fault: Fault, results: list[Result]) -> str:
    injected_n = sum(result.injected_n for result in results)
    lost_n, doubled_n = sum(result.lost_n for result in results), sum(result.doubled_n for result in results)
    bad_n = sum(bool(result.broken) for result in results)
    times = [result.recovery_s for result in results]
    recovery = f"{statistics.median(times):.1f} s ({max(times):.1f} s)"
    bound = f"{min(1.0, 3 / injected_n):.1%}" if injected_n and not (lost_n or doubled_n or bad_n) else "-"
    return (
        f"| {fault.number} | `{fault.name}`: {fault.about} | {injected_n} | {sum(r.acked_n for r in results):,} | "
        f"{lost_n} | {doubled_n} | {bad_n} | {bound} | {recovery} | {_commit()} |"
    )


def _mutation_row(name: str, mutation: Mutation, red: tuple[int, Result] | None) -> str:
    if red is None:
        return f"| | `{name}`: {mutation.about} | `{mutation.fault}` | - | **nothing** | {_commit()} |"
    seed, result = red
    seen = [f"{result.lost_n} lost"] if result.lost_n else []
    seen += [f"{result.doubled_n} doubled"] if result.doubled_n else []
    seen += [PLACE.sub("", " ".join(result.broken[0].split()))[:150].replace("|", "/")] if result.broken else []
    return f"| | `{name}`: {mutation.about} | `{mutation.fault}` | {seed} | {'; '.join(seen)} | {_commit()} |"


@cache
def _commit() -> str:
    """The tree that was played; the page that is being written does not count as a change."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{PAGE.relative_to(HERE)}")
    return f"{git('rev-parse', '--short', 'HEAD') or 'unknown'}{'-dirty' if changed else ''}"


if __name__ == "__main__":
    main()
