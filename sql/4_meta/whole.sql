-- grain: one row per build and model whose rows it makes all anew
-- inputs: the definitions, the rules, the SQL
-- surprising row: a changed definition puts the models that need the changed one here too
-- reach: nothing else
create table if not exists meta.whole (
    build_id bigint not null, -- the build
    model varchar not null -- the model
);
