-- grain: one row per build
-- inputs: raw.landings, raw.positions
-- surprising row: an interrupted build has no finished_at until the next call finishes it
-- reach: nothing else
create table if not exists meta.builds (
    build_id bigint not null, -- 1, 2, 3, ...
    started_at timestamp not null, -- clock at the start, UTC
    finished_at timestamp, -- clock at the end, UTC; null: not finished
    is_full boolean not null, -- everything was made anew
    after_event_no bigint not null, -- last event that the builds before had seen
    upto_event_no bigint not null, -- last event that this build has seen
    landed_to bigint not null, -- last landing batch that this build has seen
    horizon timestamp not null, -- everything received before has landed, UTC
    definitions_hash varchar not null -- hash of all definitions and rules
);
