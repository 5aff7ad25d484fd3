-- grain: one row per journey, date and path
-- inputs: temp table walked_paths, from core.sessions and core.events; $journey
-- surprising row: two visits with the same first max_steps nodes share a row, however they went on
-- reach: the dates of the changed sessions; scope = person: the window after them, or before them with only an end
create table if not exists marts.journey_paths (
    journey varchar not null, -- name of the journey definition
    date date not null, -- local date on which the visit began; scope = person: of the anchor
    path varchar not null, -- nodes joined by ' > '
    unit_n bigint not null, -- visits, or persons for scope = person
    conversion_n bigint not null -- of them, those with a key event at or after the first node
);

select
    $journey as journey,
    date,
    path,
    count(*) as unit_n,
    count(*) filter (where is_converted) as conversion_n
from walked_paths
group by date, path
