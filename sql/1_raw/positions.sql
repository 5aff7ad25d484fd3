-- grain: one row per partition that was ever read: a Kafka partition (3@2: of the second topic of the name), or a log segment
-- inputs: the log, or the Kafka topic
-- surprising row: a segment that was read to its end keeps its row after its file is gone
-- reach: nothing else
create table if not exists raw.positions (
    topic varchar not null, -- Kafka topic, or 'log'
    part varchar not null, -- Kafka partition, or the log segment
    next_position bigint not null, -- position to read next
    caught_up_at timestamp, -- all that was received before has landed, as far as it comes this way; null: not known
    last_received_at timestamp, -- received_at of the newest event landed from it
    is_done boolean not null, -- a closed segment that was read to its end, a topic that was replaced: nothing more comes
    topic_id varchar -- Kafka's id of the topic: another one means that it was made anew; null: the log
);
