-- grain: one row per partition that was ever read: a Kafka partition, or a log segment
-- inputs: the log, or the Kafka topic
-- surprising row: a segment that was read to its end keeps its row after its file is gone
-- reach: nothing else
create table if not exists raw.positions (
    topic varchar not null, -- Kafka topic, or 'log'
    part varchar not null, -- Kafka partition, or the log segment
    next_position bigint not null, -- position to read next
    caught_up_at timestamp, -- clock when landing last had read all that was there; null: never
    last_received_at timestamp, -- received_at of the newest event landed from it
    is_done boolean not null -- a closed segment that was read to its end: nothing more will come
);
