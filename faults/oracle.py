"""The judge: what was promised, from the ledger, against what is there. Imports nothing of footfall.

Reads the raw tables with DuckDB, the log's segments with SQLite and the topic with kafka-python, and trusts no
count that footfall keeps without counting itself.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import zstandard
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from faults.load import hash_of

TILES = "a span begins where the one before ended"
TABLES = {"events", "rejected", "gaps", "positions", "spans", "landings"}
# Each must give no row.
LAWS = {
    "read = new + duplicate + rejected": """
        select landing_id from raw.landings where read_n <> new_n + duplicate_n + rejected_n
    """,
    "a landing's spans read what it read": """
        select landing_id from raw.landings as l
        where read_n <> (select coalesce(sum(read_n), 0) from raw.spans as s where s.landing_id = l.landing_id)
    """,
    "rows, distinct coordinates and the sum of new_n are one number": """
        select 1 where not (
            select count(*) = count(distinct (topic, part, record_offset, index_in_record))
                and count(*) = count(distinct event_no)
                and count(*) = (select coalesce(sum(new_n), 0) from raw.landings)
            from raw.events
        )
    """,
    "rejects and the sum of rejected_n are one number": """
        select 1 where (select count(*) from raw.rejected) <> (select coalesce(sum(rejected_n), 0) from raw.landings)
    """,
    TILES: """
        select * from (
            select from_position, lag(to_position) over (partition by topic, part order by landing_id) as ended
            from raw.spans
        ) where from_position <> ended
    """,
    "the last span ends at the position": """
        select p.part from raw.positions as p
        left join (select topic, part, max(to_position) as ended from raw.spans group by all) as s
            on p.topic = s.topic and p.part = s.part
        where p.next_position <> coalesce(s.ended, p.next_position)
    """,
    "no span without its position": """
        select part from raw.spans where (topic, part) not in (select (topic, part) from raw.positions)
    """,
    "one row for each partition": "select part from raw.positions group by topic, part having count(*) > 1",
    "a row lies in a span of its landing": """
        select e.event_id from raw.events as e
        left join raw.spans as s on
            e.landing_id = s.landing_id and e.topic = s.topic and e.part = s.part
            and e.record_offset >= s.from_position and e.record_offset < s.to_position
        where s.part is null
    """,
}


@dataclass
class Ledger:
    """What was sent under each id, in order; which ids were acknowledged, and when a payload was first."""

    sent: dict[str, list[str]] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    # The payloads that were sent before the first acknowledgement: only these may be kept.
    first: dict[str, set[str]] = field(default_factory=dict)
    # Bytes on the log that are no event at all.
    poison: list[bytes] = field(default_factory=list)
    refused_n: int = 0
    # When each request without an answer was found cut off.
    cut_off_at: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def add(self, other: Ledger) -> None:
        """Take in what another ledger holds of other ids."""
        self.sent.update(other.sent)
        self.first.update(other.first)
        self.acked |= other.acked
        self.poison += other.poison

    @property
    def wrong(self) -> set[str]:
        """Ids whose event can only be rejected."""
        return {each for each, hashes in self.sent.items() if hashes[0] == "reject"}


@dataclass(frozen=True)
class Verdict:
    """Ids that are missing and ids that are there twice or that nobody sent; sentences for whatever else is wrong."""

    lost: frozenset[str]
    doubled: frozenset[str]
    broken: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.broken)


def read_ledger(path: Path) -> Ledger:
    ledger = Ledger()
    for line in path.read_text(encoding="ascii").splitlines():
        kind, *rest = json.loads(line)
        if kind == "sent":
            event_id, hashed, _ = rest
            ledger.sent.setdefault(event_id, []).append(hashed)
            if event_id not in ledger.acked:
                ledger.first.setdefault(event_id, set()).add(hashed)
            continue
        status, heard_at, sent_at, ids = rest
        if 200 <= status < 300:
            ledger.acked.update(ids)
            ledger.latencies.append(heard_at - sent_at)
        elif status == 0:
            ledger.cut_off_at.append(heard_at)
        elif status > 0:
            ledger.refused_n += 1
    return ledger


def judge(
    warehouse: Path,
    ledger: Ledger,
    *,
    gone: Iterable[str] = (),
    gap_n: int | None = 0,
    is_rewound: bool = False,
) -> Verdict:
    """The raw tables of a warehouse file that nobody holds, against the ledger.

    `gone`: ids that were destroyed and may be missing. `gap_n`: how many rows raw.gaps must have; None: any.
    `is_rewound`: somebody set positions back, so spans overlap.
    """
    with _copied(warehouse) as con:
        laws = [law for law in LAWS if not (is_rewound and law == TILES)]
        broken = [f"not so: {law}" for law in laws if con.execute(LAWS[law]).fetchall()]
        events = con.execute(
            "select event_id, name, anonymous_id, strftime(occurred_at, '%Y-%m-%dT%H:%M:%S.%g') || 'Z', properties "
            "from raw.events"
        ).fetchall()
        rejected = con.execute("select bytes from raw.rejected").fetchall()
        gaps = con.execute("select count(*) from raw.gaps").fetchall()[0][0]
    if gap_n is not None and gaps != gap_n:
        broken.append(f"raw.gaps has {gaps} rows, not {gap_n}")
    seen = Counter(event[0] for event in events)
    for event_id, name, anonymous_id, occurred_at, properties in events:
        hashed = hash_of(name, anonymous_id, occurred_at, json.loads(properties))
        if hashed not in ledger.first.get(event_id, ()):
            broken.append(f"{event_id} is not as it was first sent")
    if Counter(row[0] for row in rejected if row[0] in ledger.poison) != Counter(ledger.poison):
        broken.append("what is no event is not rejected once each")
    refused = Counter(_id_in(row[0]) for row in rejected if row[0] not in ledger.poison)
    if refused.keys() - ledger.wrong:
        broken.append(
            f"rejected, but nothing is wrong with them: {sorted(map(str, refused.keys() - ledger.wrong))[:5]}"
        )
    strangers = (seen.keys() | refused.keys()) - ledger.sent.keys()
    if strangers:
        broken.append(f"nobody sent {sorted(map(str, strangers))[:5]}")
    lost = ledger.acked - seen.keys() - refused.keys() - set(gone)
    # Only events are kept once: an event that is rejected is rejected as often as its client sends it.
    doubled = {each for each, n in seen.items() if n > 1 or each in refused}
    doubled |= {each for each, n in refused.items() if each in ledger.sent and n > len(ledger.sent[each])}
    return Verdict(frozenset(lost), frozenset(doubled), tuple(broken[:10]))


def contents(warehouse: Path) -> list[tuple[Any, ...]]:
    """The events and rejects as rows that do not depend on how the batches were cut, in order."""
    with _copied(warehouse) as con:
        events = con.execute("select * exclude (landing_id) from raw.events order by all").fetchall()
        rejects = con.execute("select * exclude (landing_id) from raw.rejected order by all").fetchall()
    return [*events, *rejects]


def agree(warehouse: Path) -> list[str]:
    """What rows and positions of a warehouse say against each other, at any moment: nothing, one hopes."""
    if warehouse.stat().st_size < 3 * 4096:
        return []  # DuckDB was killed before its headers were written: nothing had been committed
    with _copied(warehouse) as con:
        query = "select table_name, estimated_size from duckdb_tables() where schema_name = 'raw'"
        tables = dict(con.execute(query).fetchall())
        if not tables.keys() >= TABLES:  # killed as it was being made
            return (
                [f"rows, but not all tables: {tables}"] if any(tables[name] for name in TABLES & tables.keys()) else []
            )
        return [f"not so: {law}" for law, query in LAWS.items() if con.execute(query).fetchall()]


def chunks(log: Path) -> dict[tuple[str, int], list[bytes]]:
    """Lines of each chunk of the log by (segment, sequence), as SQLite and zstd alone read them."""
    found = {}
    for path in sorted(log.glob("*.db")):
        uri = f"{path.absolute().as_uri()}?mode=ro"
        # What cannot be read is missing, and will be missed.
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(uri, uri=True)) as con:
            for sequence, body in con.execute("select sequence, body from chunks order by sequence"):
                found[path.stem, sequence] = zstandard.decompress(body).split(b"\n")[:-1]
    return found


def judge_log(log: Path, ledger: Ledger) -> list[str]:
    """What is wrong with the log itself after a crash: holes in a segment, acknowledged ids that it lacks."""
    held = chunks(log)
    wrong = []
    for name in {name for name, _ in held}:
        numbers = sorted(sequence for each, sequence in held if each == name)
        if numbers != list(range(1, len(numbers) + 1)):
            wrong.append(f"the sequence numbers of {name} have a hole")
    ids = {id_of(line) for lines in held.values() for line in lines}
    missing = ledger.acked - ids
    if missing:
        wrong.append(f"acknowledged, but not on the log: {len(missing)}, such as {min(missing)}")
    return wrong


@dataclass(frozen=True)
class Record:
    """One record of the topic: its place on the log, as its headers say, its value, and where it stands."""

    part: int
    offset: int
    place: tuple[str, int, int]
    value: bytes | None


def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """All records of a topic, partition by partition; none when there is no such topic, or no broker."""
    try:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", bootstrap_timeout_ms=5000)
    except KafkaError:
        return []
    found = []
    with closing(consumer):
        parts = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic) or ()]
        if not parts:
            return []
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(parts)
        while any(consumer.position(part) < ends[part] for part in parts):
            for some in consumer.poll(timeout_ms=200, max_records=50_000).values():
                for record in some:
                    head = dict(record.headers)
                    place = head["segment"].decode(), int(head["sequence"]), int(head["index"])
                    found.append(Record(record.partition, record.offset, place, record.value))
    return found


def judge_topic(records: list[Record], held: dict[tuple[str, int], list[bytes]]) -> list[str]:
    """What is wrong with a topic into which all of the log was to go, each line as one record."""
    lines = {(name, number, k): line for (name, number), some in held.items() for k, line in enumerate(some)}
    wrong = []
    missing = lines.keys() - {record.place for record in records}
    if missing:
        wrong.append(f"{len(missing)} lines of the log are not in the topic, such as {min(missing)}")
    other = [record.place for record in records if lines.get(record.place) != record.value]
    if other:
        wrong.append(f"{len(other)} records are not what stands on the log, such as {min(other)}")
    return wrong


def id_of(line: bytes) -> str | None:
    """The event id of a line of the log, an event or a reject."""
    given = json.loads(line)
    return _id_in(base64.b64decode(given["bytes"])) if "reason" in given else given["event_id"]


def _id_in(content: bytes) -> str | None:
    """The client's id in the bytes of a reject."""
    try:
        given = json.loads(content)
        return str(given.get("messageId") or given.get("event_id"))
    except (ValueError, AttributeError):
        return None


class _copied:
    """A copy of a warehouse with its write-ahead file, open: looking must not heal it."""

    def __init__(self, warehouse: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="oracle-"))
        for path in (warehouse, warehouse.with_name(warehouse.name + ".wal")):
            if path.exists():
                shutil.copyfile(path, self._folder / path.name)
        self._path = self._folder / warehouse.name

    def __enter__(self) -> duckdb.DuckDBPyConnection:
        self._con = duckdb.connect(str(self._path))
        return self._con

    def __exit__(self, *_: object) -> None:
        self._con.close()
        shutil.rmtree(self._folder)
