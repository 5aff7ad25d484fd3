-- grain: one row per event that ties a device to a known customer
-- inputs: core.events
-- surprising row: an alias call gives a row for the device it names, which need not be its own
-- reach: nothing else
create table if not exists core.identity_edges (
    event_no bigint not null, -- the event that says so
    device_id bigint not null, -- the device
    user_person_id bigint not null, -- the customer
    event_at timestamp not null, -- when, corrected, UTC
    seq bigint, -- the client's counter
    event_id varchar not null, -- the event's id: ends the total order
    source varchar not null -- configured name of the site or app
);
