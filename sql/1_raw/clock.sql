-- grain: one row: the clock of the last landing, also of one that found nothing
-- inputs: the entry point's clock
-- surprising row: no row before the first landing; 1970 until the first one has ended
-- reach: nothing else
create table if not exists raw.clock (
    landed_at timestamp not null -- clock of the last landing, UTC
);
