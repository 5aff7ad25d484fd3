-- grain: one row per build and model that it ran
-- inputs: the models as they run
-- surprising row: a model with nothing to do has a row with 0
-- reach: nothing else
create table if not exists meta.steps (
    build_id bigint not null, -- the build
    model varchar not null, -- the model
    definition_hash varchar not null, -- hash of its definition and SQL
    is_whole boolean not null, -- all its rows were made anew
    rows_n bigint not null, -- rows written
    seconds double not null -- wall time
);
