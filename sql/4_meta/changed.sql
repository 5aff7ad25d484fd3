-- grain: one row per published table and date whose rows changed since the last publication
-- inputs: the models as they run
-- surprising row: a table without dates has a row with date null
-- reach: nothing else
create table if not exists meta.changed (
    table_name varchar not null, -- schema and table
    date date -- date of the rows that changed, in the table's own date column
);
