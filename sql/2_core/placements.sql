-- grain: one row per event: whose it is, and which session holds it
-- inputs: core.events, core.identity_edges
-- surprising row: an event that only follows a session (a heartbeat) belongs to it without lengthening it
-- reach: the events of the same device
create table if not exists core.placements (
    event_no bigint not null, -- the event
    event_at timestamp not null, -- when, corrected, UTC
    date date not null, -- local date of event_at
    source varchar not null, -- configured name of the site or app
    device_id bigint, -- its device; null: no anonymous id
    person_id bigint, -- whose it is; null: it names nobody
    owner_rule varchar not null, -- own, next, previous, device, shared, nobody: how the person was found
    session_no bigint, -- event_no of the first event of its session; null: in none
    view_no bigint, -- event_no of the page event that began its page view, else of the view's first event; null: in no session
    engaged_ms double, -- visible and focused milliseconds that it reports, at most the time since the view's last report
    is_page boolean not null, -- a page or screen event
    is_bearing boolean not null, -- may start or lengthen a session
    is_key boolean not null, -- a key event ([site] key_events)
    is_daily boolean not null, -- its device's id lives for a day only, so that it is never new or returning
    is_bot boolean not null -- the event or another of its session is flagged
);
