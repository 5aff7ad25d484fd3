-- grain: one row: the build that these tables come from
-- inputs: meta.builds
-- surprising row: the horizon is that of the last build that changed anything
-- reach: nothing else
create table if not exists meta.build_info (
    build_id bigint not null, -- number of the build
    built_at timestamp not null, -- clock at its end, UTC
    version varchar not null, -- version of footfall
    definitions_hash varchar not null, -- hash of all definitions and rules
    landed_to bigint not null, -- last landing batch in it
    horizon timestamp not null, -- everything received before has landed, UTC
    site_name varchar not null, -- name of the site ([site] name)
    timezone varchar not null, -- time zone of all dates
    currency varchar not null -- currency of all amounts
);

select
    build_id,
    finished_at as built_at,
    $version as version,
    definitions_hash,
    landed_to,
    horizon,
    $site_name as site_name,
    $timezone as timezone,
    $currency as currency
from meta.builds
where build_id = $build_id
