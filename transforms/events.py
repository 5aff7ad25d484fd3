"""core.events: each landed event once, with corrected time, device, page and bot flag."""

from __future__ import annotations

from transforms import bots
from transforms.agents import describe
from transforms.rules import bot_rules
from transforms.run import Run, keyed_hash, plain_hash
from transforms.steps import like
from warehouse import Warehouse

# Address of a page: scheme and host may be missing (an app, a path alone).
HOST = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?([^/?#:]*)"
PATH = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)"
ID_SEGMENT = r"[0-9]+|[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# What an app sends in place of an id stands for nobody.
SOMEBODY = "lower(trim({})) not in (select unnest(cast($nobody as varchar[])))"


def append(run: Run) -> int:
    """Add what landed since the last build; mark its devices, its persons without device, its dates, its orders."""
    warehouse = run.warehouse
    if run.whole:
        bots.remember(run, "events", bots.EVENTS)
        run.after = _forget(run)
    values = {"after": run.after, "upto": run.upto, "timezone": run.definitions.site.timezone}
    if run.after >= run.upto and not run.whole:
        return 0
    _identify(run, values)
    _agents(warehouse, values)
    _names(run, values)
    _networks(warehouse, values)
    _pages(run, values)
    rows = warehouse.insert("core.events", values)
    _flag_devices(run, values)
    if run.whole:
        bots.compare(run, "events", bots.EVENTS)
    warehouse.execute(
        """
        insert into core.identity_edges by name
        select event_no, device_id, user_person_id, event_at, seq, event_id, source
        from core.events
        where event_no > $after and event_no <= $upto and device_id is not null and user_person_id is not null
        union all by name
        select e.event_no, d.device_id, e.user_person_id, e.event_at, e.seq, e.event_id, e.source
        from core.events as e
        inner join batch_devices as d
            on e.source = d.source and json_extract_string(e.properties, '$.previous_id') = d.anonymous_id
        where
            e.event_no > $after and e.event_no <= $upto and e.type = 'alias'
            and e.user_person_id is not null and d.device_id is distinct from e.device_id
        """,
        values,
    )
    new = "from core.events where event_no > $after and event_no <= $upto"
    run.mark("device", f"select device_id {new}", values)
    run.mark(
        "device",
        "select device_id from core.identity_edges where event_no > $after and event_no <= $upto",
        values,
    )
    run.mark("order", f"select event_no {new} and name in ('Order Completed', 'Order Refunded')", values)
    return rows


def _forget(run: Run) -> int:
    """Empty what is made anew, down to the events whose payload has expired: their facts stay. The last of those."""
    warehouse = run.warehouse
    expired: int = warehouse.value("select coalesce(max(event_no), 0) from raw.expired")
    for table in ("core.events", "core.identity_edges"):
        warehouse.execute(f"delete from {table} where event_no > $expired", {"expired": expired})
    seen = [row[0] for row in warehouse.execute("select ua from core.agents order by ua")] if expired else []
    warehouse.execute("delete from core.agents")
    if seen:
        _describe(warehouse, seen)
    return expired


def _identify(run: Run, values: dict[str, object]) -> None:
    """Temp tables batch_devices, batch_users: the batch's distinct ids with their keyed hashes; kept for good too."""
    warehouse, nobody = run.warehouse, list(run.definitions.identity.id_blocklist)
    warehouse.execute(
        f"""
        create or replace temp table batch_devices as
        with named as (
            select source, anonymous_id from raw.events
            where event_no > $after and event_no <= $upto
            union
            select source, json_extract_string(properties, '$.previous_id') as anonymous_id from raw.events
            where event_no > $after and event_no <= $upto and type = 'alias'
        )
        select source, anonymous_id, {keyed_hash("concat_ws(chr(31), 'device', source, anonymous_id)")} as device_id
        from named
        where anonymous_id is not null and {SOMEBODY.format("anonymous_id")}
        """,
        {**values, **run.pads(), "nobody": nobody},
    )
    warehouse.execute(
        f"""
        create or replace temp table batch_users as
        with named as (
            select distinct user_id from raw.events
            where event_no > $after and event_no <= $upto and user_id is not null and {SOMEBODY.format("user_id")}
        )
        select user_id, {keyed_hash("concat_ws(chr(31), 'user', user_id)")} as person_id
        from named
        """,
        {**values, **run.pads(), "nobody": nobody},
    )
    warehouse.execute(
        "insert into core.devices by name select device_id, source, anonymous_id from batch_devices "
        "where device_id not in (select device_id from core.devices)"
    )
    warehouse.execute(
        "insert into core.users by name select person_id, user_id from batch_users "
        "where person_id not in (select person_id from core.users)"
    )


def _agents(warehouse: Warehouse, values: dict[str, object]) -> None:
    """Describe the user agents that were never seen before."""
    new = warehouse.execute(
        "select distinct json_extract_string(context, '$.ua') as ua from raw.events "
        "where event_no > $after and event_no <= $upto and context is not null "
        "and json_extract_string(context, '$.ua') not in (select ua from core.agents) order by ua",
        values,
    )
    if new:
        _describe(warehouse, [row[0] for row in new])


def _describe(warehouse: Warehouse, agents: list[str]) -> None:
    described = describe(agents, bot_rules(warehouse))
    with warehouse.frames(described=described):
        warehouse.execute(
            f"insert into core.agents by name select {plain_hash('ua')} as agent_id, "
            "ua, device, browser, os, is_bot, bot_kind, bot_rule from described"
        )


def _names(run: Run, values: dict[str, object]) -> None:
    """Temp table batch_names: the batch's distinct event names, and which of them do not bear sessions."""
    run.warehouse.execute(
        r"""
        create or replace temp table batch_names as
        with names as (
            select distinct name from raw.events where event_no > $after and event_no <= $upto
        ),

        ignored as (
            select name_like, only_without_url from rules.session_ignore
            union all
            select unnest(cast($ignore as varchar[])), false
        )

        select
            n.name,
            coalesce(bool_or(not r.only_without_url), false) as is_ignored,
            coalesce(bool_or(r.only_without_url), false) as is_ignored_without_url
        from names as n
        left join ignored as r on n.name like r.name_like escape '\'
        group by n.name
        """,
        {**values, "ignore": [like(name) for name in run.definitions.sessions.ignore]},
    )


def _networks(warehouse: Warehouse, values: dict[str, object]) -> None:
    """Temp table batch_networks: of the batch's address prefixes those that rules.bots names."""
    warehouse.execute(
        r"""
        create or replace temp table batch_networks as
        with prefixes as (
            select distinct json_extract_string(context, '$.ip_prefix') as ip_prefix
            from raw.events
            where event_no > $after and event_no <= $upto
        )

        select p.ip_prefix, b.kind, 'rules.bots: ' || b.name as bot_rule
        from prefixes as p
        inner join rules.bots as b on p.ip_prefix like b.network_like escape ''
        qualify row_number() over (partition by p.ip_prefix order by b.row_no) = 1
        """,
        values,
    )


def _pages(run: Run, values: dict[str, object]) -> None:
    """Temp tables batch_pages (url, host, path) and batch_referrers (referrer, page_host, host)."""
    warehouse = run.warehouse
    warehouse.execute(
        """
        create or replace temp table batch_pages as
        with urls as (
            select distinct url from raw.events where event_no > $after and event_no <= $upto and url is not null
        ),

        parts as (
            select
                url,
                nullif(lower(regexp_extract(url, $host, 1)), '') as host,
                coalesce(nullif(regexp_extract(url, $path, 1), ''), '/') as path
            from urls
        )

        select
            url,
            host,
            array_to_string(list_transform(
                string_split(path, '/'),
                lambda part: case when regexp_full_match(part, $id) then ':id' else part end
            ), '/') as path
        from parts
        """,
        {**values, "host": HOST, "path": PATH, "id": ID_SEGMENT},
    )
    for rule in run.definitions.pages:
        warehouse.execute(
            r"update batch_pages set path = $name where path like $pattern escape '\'",
            {"name": rule.as_, "pattern": like(rule.match)},
        )
    own = [*run.definitions.site.hosts, *run.definitions.site.ignore_referrers]
    warehouse.execute(
        """
        create or replace temp table batch_referrers as
        with pairs as (
            select distinct referrer, coalesce(lower(regexp_extract(url, $host, 1)), '') as page_host
            from raw.events
            where event_no > $after and event_no <= $upto and referrer is not null
        ),

        hosts as (
            select referrer, page_host, nullif(lower(regexp_extract(referrer, $host, 1)), '') as host
            from pairs
        )

        select referrer, page_host, host
        from hosts
        where
            host is not null and host <> page_host
            and not exists (
                select 1 from (select unnest(cast($own as varchar[])) as domain)
                where host = domain or ends_with(host, '.' || domain)
            )
        """,
        {**values, "host": HOST, "own": own},
    )


def _flag_devices(run: Run, values: dict[str, object]) -> None:
    """Flag a device's whole date where it was busier than a person can be."""
    run.warehouse.execute(
        """
        create or replace temp table busy as
        with touched as (
            select distinct device_id, date from core.events
            where event_no > $after and event_no <= $upto and device_id is not null
        ),

        seconds as (
            select e.device_id, e.date, date_trunc('second', e.event_at) as second, count(*) as event_n
            from core.events as e
            inner join touched as t on e.device_id = t.device_id and e.date = t.date
            where e.date in (select date from touched)
            group by e.device_id, e.date, second
        )

        select
            device_id, date,
            case when max(event_n) > $max_eps then 'max_eps' else 'max_day' end as bot_rule
        from seconds
        group by device_id, date
        having max(event_n) > $max_eps or sum(event_n) > $max_day
        """,
        {**values, "max_eps": run.definitions.bots.max_eps, "max_day": run.definitions.bots.max_day},
    )
    run.warehouse.execute(
        """
        update core.events as e set is_bot = true, bot_kind = 'script', bot_rule = b.bot_rule
        from busy as b
        where
            e.device_id = b.device_id and e.date = b.date
            and (not e.is_bot or e.bot_rule in ('max_eps', 'max_day')) and e.bot_rule is distinct from b.bot_rule
        """
    )
