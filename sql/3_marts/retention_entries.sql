-- grain: one row per retention, person, cohort and period_no in which the person returned; and one with period_no -1
-- inputs: core.events, core.identities, core.sessions
-- surprising row: period_no -1 only says that the person belongs to the cohort; who never returned has no other row
-- reach: the persons touched, at any date
create table if not exists marts.retention_entries (
    retention varchar not null, -- name of the retention definition
    person_id bigint not null, -- the person
    cohort_start date not null, -- local first day of the period of entry
    cohort_no bigint not null, -- number of that period, consecutive
    entry_at timestamp not null, -- time of the start event, UTC
    breakdown_value varchar not null, -- value of the breakdown at entry; (none) unknown; (all) without a breakdown
    period_no smallint not null, -- periods after entry, from 0; -1: the membership row
    occurrence_n bigint not null, -- return events in the period, at or after the start event
    value double not null -- their summed value; their number for value = count
);
