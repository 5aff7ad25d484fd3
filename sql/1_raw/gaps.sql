-- grain: one row per stretch of events that can no longer be read
-- inputs: the log, or the Kafka topic
-- surprising row: event_n is null when nobody can know how many events were in it
-- reach: nothing else
create table if not exists raw.gaps (
    landing_id bigint not null, -- the landing batch that noticed it
    topic varchar not null, -- Kafka topic, or 'log'
    part varchar not null, -- Kafka partition, or the log segment
    from_position bigint not null, -- first position that is missing
    to_position bigint not null, -- first position after it that is there (or would be next)
    event_n bigint, -- events that are missing
    cause varchar not null, -- lost, damaged, compacted, control (Kafka's own marks, which are no events)
    noticed_at timestamp not null -- clock of the landing, UTC
);
