-- grain: one row per pattern of an event or a page in footfall.toml
-- inputs: core.events; temp table patterns
-- surprising row: a pattern that nothing matches: a wrong name, or an event that nobody has sent yet
-- reach: nothing else
create table if not exists meta.definitions (
    section varchar not null, -- section of footfall.toml: funnel, retention, site, ...
    name varchar not null, -- name of the definition; empty where the section has none
    place varchar not null, -- step 1, start, exclude, key_events, ...
    pattern varchar not null, -- the pattern, * stands for anything
    matched_n bigint not null, -- events of people, or of a page's path their page views, that match it
    problem varchar -- no event matches, or every event matches; null: none
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
    group by all
)

select
    m.section,
    m.name,
    m.place,
    m.pattern,
    m.matched_n,
    case
        when m.name_n = 0 then 'no event matches'
        when m.name_n = s.name_n and m.name_n > 1 then 'every event matches'
    end as problem
from matched as m
left join sums as s on m.is_path = s.is_path
order by m.rank
