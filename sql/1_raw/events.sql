-- grain: one row per landed event: what a client sent, in the canonical form, first copy only
-- inputs: the log, or the Kafka topic
-- surprising row: an event id that comes again more than dedup_hours after its first copy has a second row
-- reach: nothing else
create table if not exists raw.events (
    event_no bigint not null, -- number of the row in the order of landing; joins to core.events
    landing_id bigint not null, -- the landing batch that brought it
    topic varchar not null, -- Kafka topic, or 'log' when landed from the log
    part varchar not null, -- Kafka partition, or the log segment
    record_offset bigint not null, -- Kafka offset, or the chunk's sequence number in its segment
    index_in_record integer not null, -- place of the event in the record, from 0
    id_hash bigint not null, -- h64(source, event_id): finds repeats
    event_id varchar not null, -- the client's id, else one that the collector made
    source varchar not null, -- configured name of the site or app
    protocol varchar not null, -- wire protocol it came by: segment, snowplow, jsonl, ...
    ingest varchar not null, -- live, or import (trusted in its times)
    type varchar not null, -- track, page, screen, identify, group, alias
    name varchar not null, -- name as sent, else the type
    anonymous_id varchar, -- device or browser
    user_id varchar, -- known customer
    id_kind varchar, -- local, session, daily, given: where the anonymous id comes from
    session_hint varchar, -- session id as the client says it
    page_view_id varchar, -- page view that the event belongs to, as the client says
    seq bigint, -- the client's counter for a device
    occurred_at timestamp not null, -- when the client says it happened, UTC
    sent_at timestamp, -- when the client says it sent it, UTC
    received_at timestamp not null, -- when the collector took it, UTC
    url varchar, -- page address after the PII rule
    referrer varchar, -- address of the page before, after the PII rule
    title varchar, -- page title
    properties json, -- what the caller put there, whole
    traits json, -- what the caller says of the person
    context json, -- user agent, sizes, campaign, ... (the canonical event's context)
    log_segment varchar, -- from Kafka: the log segment that it came from; null when landed from the log
    log_sequence bigint, -- from Kafka: its chunk's sequence number there
    log_index integer -- from Kafka: its place in that chunk, from 0
);
