-- grain: one row per journey, date, step_no, from_node and to_node
-- inputs: temp table walked_edges, from core.sessions and core.events; $journey
-- surprising row: a visit that is still open has no edge to (exit)
-- reach: the dates of the changed sessions; scope = person: the window after them, or before them with only an end
create table if not exists marts.journey_edges (
    journey varchar not null, -- name of the journey definition
    date date not null, -- local date on which the visit began; scope = person: of the anchor
    step_no smallint not null, -- number of from_node in the path, from 1
    from_node varchar not null, -- page or event
    to_node varchar not null, -- the next one; (exit) the visit ended; (more) max_steps cut it here
    unit_n bigint not null, -- visits, or persons for scope = person
    median_s double -- median seconds between the two; null to (exit) and (more)
);

select
    $journey as journey,
    date,
    step_no,
    from_node,
    to_node,
    count(*) as unit_n,
    quantile_cont(seconds, 0.5) as median_s
from walked_edges
group by date, step_no, from_node, to_node
