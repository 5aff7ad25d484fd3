-- grain: one row once payloads have expired: up to where
-- inputs: raw.landings
-- surprising row: the facts that were made from a payload stay in core.events; only what was sent word for word is gone
-- reach: nothing else
create table if not exists raw.expired (
    event_no bigint not null, -- events of raw.events up to this number have no payload any more
    before timestamp not null -- what landed before this moment has expired, UTC
);
