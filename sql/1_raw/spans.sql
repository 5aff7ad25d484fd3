-- grain: one row per landing batch and partition: the positions that the batch covers
-- inputs: the log, or the Kafka topic
-- surprising row: the spans of a partition tile it: each begins where the one before ended
-- reach: nothing else
create table if not exists raw.spans (
    landing_id bigint not null, -- the landing batch
    topic varchar not null, -- Kafka topic, or 'log'
    part varchar not null, -- Kafka partition, or the log segment
    from_position bigint not null, -- first position of the span
    to_position bigint not null, -- first position after it
    read_n bigint not null, -- events and rejects read in it
    gap_n bigint not null -- events missing in it, as far as known
);
