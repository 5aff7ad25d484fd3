-- grain: one row per number of a complete, published cell that changed afterwards
-- inputs: the models as they run
-- surprising row: now is null where the cell is gone
-- reach: nothing else
create table if not exists meta.restatements (
    table_name varchar not null, -- schema and table
    key varchar not null, -- the cell: its key columns and their values
    column_name varchar not null, -- the number
    was double, -- before; null: unknown
    now double, -- after; null: unknown
    why varchar not null, -- late events, or definitions changed
    build_id bigint not null, -- the build that changed it
    restated_at timestamp not null -- horizon of that build, UTC
);
