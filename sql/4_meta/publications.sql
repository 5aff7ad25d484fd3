-- grain: one row per publication
-- inputs: meta.builds
-- surprising row: a build that changed nothing is not published
-- reach: nothing else
create table if not exists meta.publications (
    build_id bigint not null, -- the build that was published
    published_at timestamp not null, -- clock, UTC
    settings varchar not null -- version of footfall, and the settings that decide what is published
);
