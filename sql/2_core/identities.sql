-- grain: one row per device and person
-- inputs: core.placements of the touched devices, core.devices, core.users; temp table earlier: what is not placed again
-- surprising row: a device that two customers used has a row for each, and one for itself where nobody was near
-- reach: the rows of the devices touched
create table if not exists core.identities (
    source varchar not null, -- configured name of the site or app
    anonymous_id varchar not null, -- the device's id as sent; never published
    user_id varchar, -- the known customer; null: the device itself is the person
    person_id bigint not null, -- the person
    rule varchar not null, -- strongest rule that tied them: own, next, previous, device, shared
    known_from timestamp not null, -- first event of the device that is the person's, UTC
    known_to timestamp not null, -- last event of the device that is the person's, UTC
    device_id bigint not null -- the device, a keyed hash
);

with ties as (
    select device_id, person_id, owner_rule, event_at as known_from, event_at as known_to from placed
    union all by name
    select device_id, person_id, owner_rule, known_from, known_to from earlier
)

select
    d.source,
    d.anonymous_id,
    u.user_id,
    p.person_id,
    arg_min(p.owner_rule, case p.owner_rule when 'own' then 1 when 'next' then 2 when 'previous' then 3 else 4 end) as rule,
    min(p.known_from) as known_from,
    max(p.known_to) as known_to,
    p.device_id
from ties as p
inner join core.devices as d on p.device_id = d.device_id
left join core.users as u on p.person_id = u.person_id
group by d.source, d.anonymous_id, u.user_id, p.person_id, p.device_id
