-- grain: one row per pattern of an event or a page in footfall.toml, and per breakdown, value and choice of stations
-- inputs: core.events, marts.funnel_*, marts.retention_cells, marts.journey_paths; temp table patterns
-- surprising row: a pattern that nothing matches: a wrong name, or an event that nobody has sent yet
-- reach: nothing else
create table if not exists meta.definitions (
    section varchar not null, -- section of footfall.toml: funnel, retention, site, ...
    name varchar not null, -- name of the definition; empty where the section has none
    place varchar not null, -- step 1, start, exclude, key_events, ...
    pattern varchar not null, -- the pattern, * stands for anything
    matched_n bigint not null, -- events of people, of a path their page views, that match it; entries, cells or ways with it
    problem varchar -- no event matches, every event matches, nobody reaches it, …; null: none
);

with names as (
    select name as told, false as is_path, count(*) as event_n
    from core.events
    where not is_bot
    group by name
    union all
    select path as told, true as is_path, count(*) as event_n
    from core.events
    where not is_bot and is_page and path is not null
    group by path
),

sums as (
    select is_path, count(*) as name_n
    from names
    group by is_path
),

matched as (
    select
        p.section, p.name, p.place, p.pattern, p.is_path, p.rank,
        count(n.told) as name_n,
        coalesce(sum(n.event_n), 0) as matched_n
    from patterns as p
    left join names as n on p.is_path = n.is_path and n.told like p.like_pattern escape '\'
    where p.place not in ('breakdown', 'value', 'include')
    group by all
),

-- what the models made of a pattern: a value that no event carries, or a way that cannot be gone, shows here only
reached as (
    select
        funnel, step_no, sum(reached_n_to_date) as reached_n,
        bool_or(period = 'all' and not is_complete) as is_early
    from marts.funnel_steps
    group by funnel, step_no
),

outcomes as (
    select
        'funnel' as section, funnel as name, 'step ' || step_no as place,
        case when is_early and step_no = 1 then 'nobody yet: its time is not over' else 'nobody reaches it' end as problem
    from reached
    qualify reached_n = 0 and coalesce(lag(reached_n) over (partition by funnel order by step_no), 1) > 0
    union all
    select 'retention' as section, retention as name, 'start' as place, 'nobody enters' as problem
    from marts.retention_cells
    group by retention
    having sum(cohort_n) = 0
    union all
    select 'retention' as section, retention as name, 'returns' as place, 'nobody returns' as problem
    from marts.retention_cells
    where cohort_n > 0 and period_no > 0
    group by retention
    having sum(retained_n) = 0
    union all
    select section, name, place, 'no way has it' as problem
    from patterns
    where section = 'journey' and place in ('start', 'end') and name not in (select journey from marts.journey_paths)
),

-- what a definition asks of its entries as a whole, beside the events that it names
asked as (
    select
        'funnel' as section, funnel as name, 'breakdown' as place,
        count(*) filter (where breakdown_value <> '(none)') as value_n, 'no entry has a value' as problem
    from marts.funnel_attempts
    group by funnel
    union all
    select
        'retention' as section, retention as name, 'breakdown' as place,
        sum(cohort_n) filter (where breakdown_value <> '(none)') as value_n, 'no entry has a value' as problem
    from marts.retention_cells
    where period_no = 0
    group by retention
    having sum(cohort_n) > 0
    union all
    select
        'retention' as section, retention as name, 'value' as place,
        count(*) filter (where value <> 0) as value_n, 'no return has a value' as problem
    from marts.retention_cells
    group by retention
    having sum(retained_n) > 0
    union all
    select
        p.section, p.name, p.place, coalesce(sum(j.unit_n), 0) as value_n, 'no way is left' as problem
    from patterns as p
    left join marts.journey_paths as j on p.name = j.journey
    where p.place = 'include'
    group by p.section, p.name, p.place
),

found as (
    select
        m.section, m.name, m.place, m.pattern, m.matched_n, m.rank,
        case
            when m.name_n = 0 then 'no event matches'
            when o.problem is not null then o.problem
            when m.name_n = s.name_n and m.name_n > 1 then 'every event matches'
        end as problem
    from matched as m
    left join sums as s on m.is_path = s.is_path
    left join outcomes as o on m.section = o.section and m.name = o.name and m.place = o.place
    union all
    select
        p.section, p.name, p.place, p.pattern, coalesce(a.value_n, 0) as matched_n, p.rank,
        case when a.value_n = 0 then a.problem end as problem
    from patterns as p
    left join asked as a on p.section = a.section and p.name = a.name and p.place = a.place
    where p.place in ('breakdown', 'value', 'include')
)

select section, name, place, pattern, matched_n, problem
from found
order by rank
