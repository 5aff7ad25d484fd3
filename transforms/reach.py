"""From when on each touched device is placed again: what came before cannot have changed, and need not be read."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from transforms.definitions import DAY_US
from transforms.run import Run

NEVER = "timestamp '0001-01-01'"


def bound(run: Run) -> date:
    """Temp table touched_devices (key, since): the events of a device from `since` on (UTC) are placed again.

    Returns the first local date on which any of them may lie. A device begins anew with the run of events (see
    sessions.cut) that holds the first moment at which anything can be different: its first new event or, where that
    is busier than a person can be, the first of its date; a session that was open; and with a new login, what this
    gives another owner: back to the login before, but no further than `stitch_days` (see identity.own). All of the
    device is placed again where so many customers use it now, or no longer, that it counts as shared, and where the
    dates of a range were asked for.
    """
    run.touched("device", "touched_keys", "select device_id from core.events")
    if run.whole:
        run.warehouse.execute(
            f"create or replace temp table touched_devices as select key, {NEVER} as since from touched_keys"
        )
        return date.min
    _find_causes(run)
    _find_runs(run)
    since = run.warehouse.value("select min(since) from touched_devices")
    return _local_date(run, since) if since else date.max


def _find_causes(run: Run) -> None:
    """Temp table causes (device_id, changed_at): moments from which anything can be different; null: from any."""
    _find_new_and_open(run)
    _find_logins(run)
    run.warehouse.execute(
        """
        insert into causes
        select key, null from touched_keys where key not in (select device_id from causes)
        union all
        select distinct key, null from meta.dirty where build_id = $build and kind = 'again'
        """,
        {"build": run.build_id},
    )


def _find_new_and_open(run: Run) -> None:
    """Make causes: of each touched device the first of its new events and open sessions."""
    warehouse = run.warehouse
    warehouse.execute(
        """
        create or replace temp table fresh_dates as
        select device_id, min(date) as date
        from core.events
        where event_no > $after and event_no <= $upto and device_id is not null
        group by device_id
        """,
        {"after": run.after, "upto": run.upto},
    )
    first = warehouse.value("select coalesce(min(date), date '9999-12-31') from fresh_dates")
    warehouse.execute(
        f"""
        create or replace temp table causes as
        with moments as (
            select e.device_id, e.event_at as changed_at
            from core.events as e
            inner join fresh_dates as f on e.device_id = f.device_id and e.date >= f.date
            where e.date >= date '{first}'
            union all
            select device_id, started_at from core.sessions where is_open
        )

        select device_id, min(changed_at) as changed_at
        from moments
        where device_id in (select key from touched_keys)
        group by device_id
        """
    )


def _find_logins(run: Run) -> None:
    """Into causes: of each device with new logins from when they can give another owner."""
    rules = run.definitions.identity
    run.warehouse.execute(
        """
        insert into causes
        with edges as (
            select
                device_id, user_person_id, event_at, event_no > $after as is_new,
                max(event_at) over (
                    partition by device_id order by event_at
                    range between unbounded preceding and interval 1 microsecond preceding
                ) as last_at
            from core.identity_edges
            where
                event_no <= $upto and device_id in (
                    select device_id from core.identity_edges where event_no > $after and event_no <= $upto
                )
        ),

        known as (
            select device_id, min(known_from) as first_at
            from core.identities
            where device_id in (select device_id from edges)
            group by device_id
        ),

        counted as (
            select
                device_id,
                (count(distinct user_person_id) > $most)
                <> (count(distinct user_person_id) filter (where not is_new) > $most) as is_other
            from edges
            group by device_id
        )

        select
            e.device_id,
            case
                when k.first_at is null then e.event_at
                when c.is_other then k.first_at
                else greatest(
                    k.first_at, e.last_at, make_timestamp(epoch_us(e.event_at) - cast($stitch_us as bigint))
                )
            end
        from edges as e
        inner join counted as c on e.device_id = c.device_id
        left join known as k on e.device_id = k.device_id
        where e.is_new
        """,
        {
            "after": run.after,
            "upto": run.upto,
            "most": rules.max_users_per_device,
            "stitch_us": rules.stitch_us,
        },
    )


def _find_runs(run: Run) -> None:
    """Temp table touched_devices: of each device in `causes` the begin of the run of events that holds its moment."""
    warehouse, rules = run.warehouse, run.definitions.sessions
    first = warehouse.value("select min(changed_at) from causes")
    # No session is longer, and the last one before a moment in its run ended a gap earlier at most.
    back = timedelta(microseconds=max(rules.cap_us, DAY_US) + rules.gap_us)
    from_date = _local_date(run, first - back) if first and first - datetime.min > back else date.min
    runs = """
        with moments as (
            select device_id, case when bool_or(changed_at is null) then null else min(changed_at) end as changed_at
            from causes
            group by device_id
        )

        select
            m.device_id, coalesce(m.changed_at, {never}) as changed_at,
            coalesce(epoch_us(max(s.ended_at)) + {gap_us} >= epoch_us(m.changed_at), false) as is_inside,
            max(s.started_at) filter (where s.start_rule = 'gap') as run_at
        from moments as m
        left join core.sessions as s on m.device_id = s.device_id and s.started_at <= m.changed_at {of_dates}
        group by m.device_id, m.changed_at
    """
    warehouse.execute(
        "create or replace temp table runs as "
        + runs.format(never=NEVER, gap_us=rules.gap_us, of_dates=f"and s.date >= date '{from_date}'")
    )
    # A run that the caps have cut many times begins before these dates.
    if warehouse.value("select exists(from runs where is_inside and run_at is null)"):
        warehouse.execute(
            "create or replace temp table runs as " + runs.format(never=NEVER, gap_us=rules.gap_us, of_dates="")
        )
    warehouse.execute(
        "create or replace temp table touched_devices as "
        "select device_id as key, case when is_inside then run_at else changed_at end as since from runs"
    )


def _local_date(run: Run, at: datetime) -> date:
    """The site's date at a moment in UTC."""
    if at == datetime.min:
        return date.min
    found: date = run.warehouse.value(
        "select cast(timezone($timezone, timezone('UTC', cast($at as timestamp))) as date)",
        {"timezone": run.definitions.site.timezone, "at": at},
    )
    return found
