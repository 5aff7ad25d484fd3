"""What a build reads again of people: those whom it touches, and nobody else."""

from __future__ import annotations

from datetime import timedelta

from tests.transforms.histories import DEFINITIONS, EVENTS, START, Told, land, warehouse_in_memory
from transforms import people
from transforms.flow import build
from transforms.run import Run
from warehouse import Warehouse

KEY = b"k" * 32
AT = START + timedelta(days=9)


def shop() -> Warehouse:
    """Eight devices with two visits each; on the first one two customers log in, one after the other."""
    warehouse = warehouse_in_memory()
    told = [
        Told(10 * device + n, device, user, 60 * 24 * n + device, len(EVENTS), 0, 0, 0, None, "local")
        for device in range(8)
        for n, user in enumerate((0, 1) if device == 0 else (None, None))
    ]
    land(warehouse, told, AT)
    build(warehouse, DEFINITIONS, key=KEY, now=AT)
    return warehouse


def gathered(warehouse: Warehouse, person: int, kind: str = "person", *, whole: bool = False) -> Run:
    run = Run(warehouse, DEFINITIONS, KEY, 99, 0, 10**9, AT, AT, lambda *_: None, whole=whole)
    warehouse.execute("insert into meta.dirty values (99, $kind, $person)", {"kind": kind, "person": person})
    people.gather(run)
    return run


def test_only_what_the_touched_persons_did_is_read() -> None:
    warehouse = shop()
    person = warehouse.value(
        "select min(person_id) from core.sessions where device_id not in (select device_id from core.identity_edges)"
    )
    gathered(warehouse, person)
    for name in ("placements", "sessions"):
        mine = {"person": person}
        expected = warehouse.execute(f"from core.{name} where person_id = $person order by all", mine)
        assert warehouse.execute(f"from people_{name} order by all") == expected
        assert len(expected) == 2
    events = warehouse.execute("select event_no, name, properties from people_events order by 1")
    assert events == warehouse.execute(
        "select event_no, name, properties from core.events "
        "where event_no in (select event_no from people_placements) order by 1"
    )


def test_a_person_for_whom_only_time_has_passed_is_read_but_not_touched() -> None:
    warehouse = shop()
    person = warehouse.value("select max(person_id) from core.persons")
    gathered(warehouse, person, "ripe")
    assert warehouse.value("select count(*) from people_placements where person_id = $p", {"p": person}) > 0
    assert warehouse.value("select count(*) from touched_persons") == 0


def test_where_all_is_made_anew_all_is_read() -> None:
    warehouse = shop()
    run = gathered(warehouse, 1, whole=True)
    for name in ("placements", "events", "sessions"):
        assert warehouse.value(f"select count(*) from people_{name}") == warehouse.value(
            f"select count(*) from core.{name}"
        )
    # The next model may be one that is not made anew.
    run.whole = False
    people.gather(run)
    assert warehouse.value("select count(*) from people_placements") == 0
