-- grain: one row per device: a source's anonymous id
-- inputs: raw.events
-- surprising row: a device known only from an alias call has no event of its own
-- reach: nothing else
create table if not exists core.devices (
    device_id bigint not null, -- keyed hash of source and anonymous id; also the person id of a device that nobody logged in on
    source varchar not null, -- configured name of the site or app
    anonymous_id varchar not null -- the id as sent; never published
);
