-- grain: one row per event and property that breaks the plan ([[event]])
-- inputs: core.events; temp table planned
-- surprising row: an event of two wrong properties has two rows; the event itself is counted everywhere all the same
-- reach: nothing else
create table if not exists core.violations (
    event_no bigint not null, -- the event
    event_id varchar not null, -- the event's id
    source varchar not null, -- configured name of the site or app
    name varchar not null, -- name of the event
    date date not null, -- local date of the event
    property varchar not null, -- the property
    problem varchar not null, -- missing, or what it is instead of its planned type
    is_bot boolean not null -- made by a program
);

with found as (
    select
        e.event_no, e.event_id, e.source, e.name, e.date, e.is_bot, p.property, p.type, p.is_required,
        coalesce(json_type(e.properties, p.path), 'NULL') as kind,
        json_extract_string(e.properties, p.path) as value
    from core.events as e
    inner join planned as p on e.name = p.name
    where e.event_no > $after and e.event_no <= $upto
),

judged as (
    select
        *,
        case
            when kind = 'NULL' then case when is_required then 'missing' end
            when type = 'text' and kind <> 'VARCHAR' then lower(kind) || ' instead of text'
            when type = 'number' and kind not in ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
                then lower(kind) || ' instead of number'
            when type = 'integer' and kind not in ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
                then lower(kind) || ' instead of integer'
            when type = 'integer' and coalesce(try_cast(value as double) % 1, 1) <> 0
                then lower(kind) || ' instead of integer'
            when type = 'boolean' and kind <> 'BOOLEAN' then lower(kind) || ' instead of boolean'
            when type = 'time' and (kind <> 'VARCHAR' or try_cast(value as timestamptz) is null)
                then lower(kind) || ' instead of time'
            when type = 'list' and kind <> 'ARRAY' then lower(kind) || ' instead of list'
            when type = 'object' and kind <> 'OBJECT' then lower(kind) || ' instead of object'
        end as problem
    from found
)

select
    event_no,
    event_id,
    source,
    name,
    date,
    property,
    regexp_replace(replace(problem, 'varchar', 'text'), '^(u?bigint|hugeint|double)', 'number') as problem,
    is_bot
from judged
where problem is not null
