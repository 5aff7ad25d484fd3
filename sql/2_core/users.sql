-- grain: one row per known customer
-- inputs: raw.events
-- surprising row: a user is one person in every source
-- reach: nothing else
create table if not exists core.users (
    person_id bigint not null, -- keyed hash of the user id
    user_id varchar not null -- the id as sent; never published
);
