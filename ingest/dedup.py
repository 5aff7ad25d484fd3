"""What repeats something landed: events by source and id within a window, rejects by where they stood on the log.

A record that the forwarder sent again has the receipt of its first copy, so an event among them falls to the
rule for ids, whatever the window; a reject has no id and goes by its place on the log.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from warehouse import Warehouse

# Rows of the batch (temp.incoming_events) that may repeat another, by hash: one of the batch, or one received at
# most the window away. The bounds let DuckDB skip the row groups of raw.events that are too old or too new.
SUSPECTS = """
create or replace temp table suspects as
with suspect_hashes as (
    select id_hash from incoming_events group by id_hash having count(*) > 1
    union
    select id_hash from raw.events
    where received_at >= $since and received_at <= $until and id_hash in (select id_hash from incoming_events)
)

select event_no, id_hash, source, event_id, received_at from incoming_events
where id_hash in (select id_hash from suspect_hashes)
"""
# Those whose copy landed in an earlier batch and was received within the window of them.
REPEATS = """
create or replace temp table repeats as
select distinct suspects.event_no
from raw.events as kept
inner join suspects on
    kept.id_hash = suspects.id_hash and kept.source = suspects.source and kept.event_id = suspects.event_id
where
    kept.received_at >= $since and kept.received_at <= $until
    and abs(date_diff('microsecond', kept.received_at, suspects.received_at)) <= $window
"""
DROP_REPEATS = "delete from suspects where event_no in (select event_no from repeats)"
# One round: the first copy of each id stays; repeats are those received within the window of it. What is left
# is a new row again, and the next round begins with it.
FIRSTS = """
create or replace temp table firsts as
select event_no, source, event_id, received_at from suspects
qualify row_number() over (partition by source, event_id order by event_no) = 1
"""
DROP_FIRSTS = "delete from suspects where event_no in (select event_no from firsts)"
REPEAT_FIRSTS = """
insert into repeats
select suspects.event_no
from suspects
inner join firsts on suspects.source = firsts.source and suspects.event_id = firsts.event_id
where abs(date_diff('microsecond', suspects.received_at, firsts.received_at)) <= $window
"""
INSERT_EVENTS = "insert into raw.events by name select * from incoming_events"
INSERT_FRESH = f"{INSERT_EVENTS} where event_no not in (select event_no from repeats)"
# The place on the log: said by the record, or the line's own when it was read there.
SEGMENT = "case when topic = 'log' then part else log_segment end"
SEQUENCE = "case when topic = 'log' then record_offset else log_sequence end"
INDEX = "case when topic = 'log' then index_in_record else log_index end"
INSERT_REJECTS = f"""
insert into raw.rejected by name
with fresh as (
    select *, {SEGMENT} as segment, {SEQUENCE} as sequence, {INDEX} as place from incoming_rejects
),

known as (
    select {SEGMENT} as segment, {SEQUENCE} as sequence, {INDEX} as place from raw.rejected
    where received_at is null or received_at between $since and $until
)

select * exclude (segment, sequence, place, line_no) from fresh
where segment is null or not exists (
    select 1 from known
    where known.segment = fresh.segment and known.sequence = fresh.sequence and known.place = fresh.place
)
qualify segment is null or row_number() over (partition by segment, sequence, place order by line_no) = 1
"""
# A reject that cannot be read has the time of its record, which need not be the same in the log and in Kafka.
MARGIN = timedelta(hours=1)


def insert_events(warehouse: Warehouse, window: timedelta) -> int:
    """Append temp.incoming_events to raw.events, without what repeats a kept event: semantics.md section 0.

    The order is that of landing. Gives how many repeated one.
    """
    since, until = warehouse.execute("select min(received_at), max(received_at) from incoming_events")[0]
    repeat_n = _find_repeats(warehouse, since - window, until + window, window) if since else 0
    warehouse.execute(INSERT_FRESH if repeat_n else INSERT_EVENTS)
    return repeat_n


def _find_repeats(warehouse: Warehouse, since: datetime, until: datetime, window: timedelta) -> int:
    """Name in temp.repeats what is not to be kept; how many rows that is."""
    values = {"since": since, "until": until, "window": window // timedelta(microseconds=1)}
    warehouse.execute(SUSPECTS, values)
    if not warehouse.value("select count(*) from suspects"):
        return 0
    warehouse.execute(REPEATS, values)
    warehouse.execute(DROP_REPEATS)
    while warehouse.value("select count(*) from suspects"):
        warehouse.execute(FIRSTS)
        warehouse.execute(DROP_FIRSTS)
        warehouse.execute(REPEAT_FIRSTS, values)
        warehouse.execute(DROP_REPEATS)
    return int(warehouse.value("select count(*) from repeats"))


def insert_rejects(warehouse: Warehouse, rejects: pl.DataFrame) -> int:
    """Append to raw.rejected those of `rejects` that did not land before; how many.

    `rejects` has the columns of raw.rejected and line_no, the order in which they came.
    """
    if rejects.is_empty():
        return 0
    bounds = rejects.select(since=pl.col("received_at").min() - MARGIN, until=pl.col("received_at").max() + MARGIN)
    with warehouse.frames(incoming_rejects=rejects):
        return int(warehouse.execute(INSERT_REJECTS, bounds.row(0, named=True))[0][0])


def drop_tables(warehouse: Warehouse) -> None:
    """Remove what `insert_events` worked with."""
    for table in ("incoming_events", "suspects", "repeats", "firsts"):
        warehouse.execute(f"drop table if exists temp.{table}")
