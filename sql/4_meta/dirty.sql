-- grain: one row per thing that a build has to look at again
-- inputs: raw.events, and the models as they run
-- surprising row: empty after a finished build; what stands here after a crash is where the next build goes on
-- reach: nothing else
create table if not exists meta.dirty (
    build_id bigint not null, -- the build
    kind varchar not null, -- device, again (a device, whole), person, ripe (a person for whom only time has passed), date, order
    key bigint not null -- device_id, person_id, days since 1970-01-01, event_no of the order
);
