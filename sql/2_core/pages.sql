-- grain: one row per source and path that pointer samples lie on
-- inputs: core.events
-- surprising row: events without a path lie on the path (none)
-- reach: nothing else
create table if not exists core.pages (
    page_key bigint not null, -- h64(source, path)
    source varchar not null, -- configured name of the site or app
    path varchar not null -- path of the page, (none) where the event has none
);
