"""The rows of the touched persons, found once for all models that go by person: they lie anywhere in the history."""

from __future__ import annotations

from transforms.run import Run
from transforms.steps import EVENT_COLUMNS

COLUMNS = ("event_no", "event_id", "seq", "is_page", "is_bearing", "properties", *sorted(EVENT_COLUMNS))


def gather(run: Run) -> None:
    """Temp table touched_persons (key), and the views people_placements, people_events, people_sessions.

    The views have the columns of core.placements, of core.events those in COLUMNS, and those of core.sessions. They
    hold at least what the touched persons did, their sessions, all that lies in these, and of each session its first
    event; and the same of the persons for whom only time has passed (kind "ripe"). Where all is made anew they hold
    everything.
    """
    run.touched("person", "touched_persons", "select person_id from core.placements")
    if not run.whole and not run.has_gathered:
        _gather(run)
        run.has_gathered = True
    for name, columns in (("placements", "*"), ("events", ", ".join(COLUMNS)), ("sessions", "*")):
        origin = f"core.{name}" if run.whole else f"gathered_{name}"
        run.warehouse.execute(f"create or replace temp view people_{name} as select {columns} from {origin}")


def _gather(run: Run) -> None:
    for query in (
        """
        create or replace temp table gathered_persons as
        select distinct key from meta.dirty where build_id = $build and kind in ('person', 'ripe')
        """,
        """
        create or replace temp table gathered_sessions as
        select * from core.sessions where person_id in (select key from gathered_persons)
        """,
        """
        create or replace temp table gathered_placements as
        select * from core.placements
        where
            person_id in (select key from gathered_persons)
            or session_no in (select session_no from gathered_sessions)
        """,
        """
        insert into gathered_sessions
        select * from core.sessions
        where
            session_no in (select session_no from gathered_placements)
            and session_no not in (select session_no from gathered_sessions)
        """,
        f"""
        create or replace temp table gathered_events as
        select {", ".join(COLUMNS)} from core.events
        where event_no in (
            select event_no from gathered_placements union select session_no from gathered_sessions
        )
        """,
    ):
        run.warehouse.execute(query, {"build": run.build_id})
