-- grain: one row per rejected event or unreadable piece of a request
-- inputs: the log, or the Kafka topic
-- surprising row: bytes are cut at 64 KiB, so a large event is kept in part
-- reach: nothing else
create table if not exists raw.rejected (
    landing_id bigint not null, -- the landing batch that brought it
    topic varchar not null, -- Kafka topic, or 'log'
    part varchar not null, -- Kafka partition, or the log segment
    record_offset bigint not null, -- Kafka offset, or the chunk's sequence number
    index_in_record integer not null, -- place in the record, from 0
    source varchar, -- configured name of the site or app, where it is known
    protocol varchar, -- wire protocol it came by
    reason varchar not null, -- one name of the closed set, for example bad_time
    detail varchar, -- a sentence that says what was wrong
    bytes blob, -- what was sent, cut at 64 KiB
    received_at timestamp, -- when the collector took it, UTC
    log_segment varchar, -- from Kafka: the log segment that it came from; null when landed from the log, or not ours
    log_sequence bigint, -- from Kafka: its chunk's sequence number there
    log_index integer -- from Kafka: its place in that chunk, from 0
);
