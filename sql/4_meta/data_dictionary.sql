-- grain: one row per published column
-- inputs: the files under sql/
-- surprising row: column_name is empty in the row that describes the table itself
-- reach: nothing else
create table if not exists meta.data_dictionary (
    schema_name varchar not null, -- schema
    table_name varchar not null, -- table
    column_name varchar not null, -- column; empty: the table itself
    data_type varchar not null, -- type of the column; empty: the table itself
    description varchar not null -- what it means; of a table: its grain
);
