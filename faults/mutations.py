"""Each protection switched off in a copy of the tree: the fault that it protects from must then be seen."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from faults.brokers import Brokers
from faults.catalogue import FAULTS
from faults.play import play
from faults.stage import HERE, Result
from faults.tree import Tree

COPIED = ("*.py", "*.toml", "ingest", "transforms", "sql", "report", "demo")
# The harness itself, or the edit, is at fault then, and not footfall.
BROKEN_EDIT = re.compile(r"\b(SyntaxError|IndentationError|NameError|ImportError|ModuleNotFoundError|AttributeError)\b")


@dataclass(frozen=True)
class Mutation:
    """`edits` are (file, text, what stands there instead); each text stands in its file once."""

    about: str
    fault: str
    edits: tuple[tuple[str, str, str], ...]
    seeds: int = 5


MUTATIONS = {
    "synchronous_off": Mutation(
        "SQLite's `synchronous` off",
        "power_cut_at_collector",
        (("ingest/log.py", "pragma synchronous = full", "pragma synchronous = off"),),
    ),
    "synchronous_normal": Mutation(
        "SQLite's `synchronous` normal",
        "answers_before_sync",
        (("ingest/log.py", "pragma synchronous = full", "pragma synchronous = normal"),),
    ),
    "answer_before_commit": Mutation(
        "the answer waits for the commit",
        "answers_before_sync",
        (("ingest/receive.py", "await self._commit.store(", "self._commit.store("),),
    ),
    "halves": Mutation(
        "a batch for which the memory is too small lands in halves",
        "short_of_memory",
        (("ingest/land.py", "            if halves is None:", "            if True:"),),
    ),
    "compare_and_set": Mutation(
        "compare-and-set on positions",
        "overtaken_lander",
        (("ingest/land.py", " and next_position = $start and not is_done", ""),),
    ),
    "dedup_in_a_batch": Mutation(
        "duplicates inside a batch",
        "repeating_clients",
        (("ingest/dedup.py", "inner join firsts on ", "inner join firsts on false and "),),
    ),
    "dedup_by_hash": Mutation(
        "duplicates of what landed before",
        "rewound_lander",
        (("ingest/dedup.py", "    kept.received_at >= $since", "    false and kept.received_at >= $since"),),
    ),
    "dedup_by_place": Mutation(
        "duplicates by their place on the log, of what landed before",
        "forwarder_set_back",
        (("ingest/dedup.py", "where segment is null or not exists (", "where true or not exists ("),),
    ),
    "dedup_by_place_in_a_batch": Mutation(
        "duplicates by their place on the log, inside a batch",
        "forwarder_set_back",
        (("ingest/dedup.py", "qualify segment is null or row_number()", "qualify true or row_number()"),),
    ),
    "positions_before_rows": Mutation(
        "positions in the rows' transaction, but before it",
        "killed_lander",
        (
            (
                "ingest/land.py",
                "            incoming.read(warehouse, base=base, **stamps)\n",
                "            for span in _spans(batch.stretches):\n                self._advance(span)\n"
                '            warehouse.execute("commit")\n            warehouse.execute("begin")\n'
                "            incoming.read(warehouse, base=base, **stamps)\n",
            ),
            ("ingest/land.py", "            for span in spans:\n                self._advance(span)\n", ""),
        ),
        seeds=20,
    ),
    "rows_before_positions": Mutation(
        "positions in the rows' transaction, but after it",
        "killed_lander",
        (
            (
                "ingest/land.py",
                "            _check(landed, batch)\n",
                "            _check(landed, batch)\n"
                '            warehouse.execute("commit")\n            warehouse.execute("begin")\n',
            ),
        ),
        seeds=20,
    ),
    "unlink_before_checkpoint": Mutation(
        "segments go after DuckDB's checkpoint",
        "segments_released_before_checkpoint",
        (("ingest/from_log.py", "    warehouse.checkpoint()\n", ""),),
    ),
    "cursor_ahead": Mutation(
        "the cursor waits for acknowledgements",
        "stuck_producer",
        (("ingest/forward.py", "while futures and futures[0][0].succeeded():", "while futures:"),),
    ),
    "watchdog": Mutation(
        "the forwarder's watchdog",
        "stuck_producer",
        (("ingest/forward.py", "if not window.futures or now < max(", "if True or now < max("),),
    ),
    "offset_reset": Mutation(
        "`auto_offset_reset` none",
        "retention_in_a_landing",
        (("ingest/from_kafka.py", '"auto_offset_reset": "none"', '"auto_offset_reset": "latest"'),),
    ),
    "chunk_checksum": Mutation(
        "crc32c of chunks",
        "flipped_chunk",
        (("ingest/log.py", "crc32c.crc32c(body) != checksum", "False"),),
    ),
    "rollback": Mutation(
        "ROLLBACK on error",
        "poison_on_the_log",
        (("warehouse.py", 'self.con.execute("rollback")', "pass"),),
    ),
    "rename": Mutation(
        "a new file and one rename in publishing",
        "killed_publisher",
        (
            (
                "transforms/publish.py",
                "    new.replace(bi)\n",
                "    content = new.read_bytes()\n    new.unlink()\n"
                '    with bi.open("wb", buffering=0) as file:\n'
                "        for at in range(0, len(content), 4096):\n"
                "            file.write(content[at : at + 4096])\n",
            ),
        ),
    ),
}


def mutated(mutation: Mutation, folder: Path) -> Path:
    """A copy of the tree in `folder` with the edits; raises ValueError where one does not apply."""
    folder.mkdir(parents=True)
    for pattern in COPIED:
        for path in HERE.glob(pattern):
            if path.is_dir():
                # With what Python compiled: the edited files alone are younger than that.
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("node_modules"))
            else:
                shutil.copy2(path, folder / path.name)
    for name, old, new in mutation.edits:
        text = (folder / name).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{name} holds {old!r} {text.count(old)} times, not once: write the mutation anew")
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def first_red(mutation: Mutation, folder: Path, library: Path, brokers: Brokers) -> tuple[int, Result] | None:
    """The first seed, and its result, that sees what is switched off; None when none does."""
    with Tree(mutated(mutation, folder / "tree"), library) as tree:
        for seed in range(1, mutation.seeds + 1):
            result = play(FAULTS[mutation.fault], seed, folder / f"seed-{seed}", tree, brokers)
            wrong = [sentence for sentence in result.broken if BROKEN_EDIT.search(sentence)]
            if wrong:
                raise ValueError(f"the mutated tree does not run at all: {wrong[0]}")
            if not result.is_good:
                return seed, result
    return None
