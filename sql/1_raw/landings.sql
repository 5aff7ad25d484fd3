-- grain: one row per landing batch that read or missed anything
-- inputs: the log, or the Kafka topic
-- surprising row: read_n = new_n + duplicate_n + rejected_n, always
-- reach: nothing else
create table if not exists raw.landings (
    landing_id bigint not null, -- 1, 2, 3, ... in the order of landing
    landed_at timestamp not null, -- clock of the landing, UTC
    read_n bigint not null, -- events and rejects read
    new_n bigint not null, -- rows added to raw.events
    duplicate_n bigint not null, -- events whose first copy is there already
    rejected_n bigint not null, -- rows added to raw.rejected
    gap_n bigint not null, -- events in the gaps noticed, as far as known
    first_event_no bigint, -- smallest event_no of its rows in raw.events; null: none
    last_event_no bigint -- greatest event_no of its rows in raw.events; null: none
);
