-- grain: one row per attempt: one entry of a person or session into a funnel
-- inputs: core.events, core.identities, core.sessions
-- surprising row: an excluded attempt keeps the depth and the times of the chain that was hit; no step counts it
-- reach: back W, forward either_within; unit = session: the reach of a session
create table if not exists marts.funnel_attempts (
    funnel varchar not null, -- name of the funnel definition
    person_id bigint, -- the person; null when a session has none
    session_id varchar, -- the session, for funnels with unit = session
    unit_id bigint not null, -- what the attempt was counted by: the person, or the session's number
    period_start date not null, -- local first day of the entry period
    entered_at timestamp not null, -- time of the first step, UTC
    depth utinyint not null, -- steps reached, 1 to the number of steps
    step_at timestamp[] not null, -- time of each step, UTC; null from the first step that was not reached
    breakdown_value varchar not null, -- value of the breakdown; (none) unknown; (all) without a breakdown
    is_open boolean not null, -- later events can still make it deeper
    is_excluded boolean not null, -- an exclude event took it out of every step
    source varchar, -- source of the session in which it began; null: began in none
    channel varchar, -- channel of that session
    device varchar, -- device of that session
    next_node varchar -- page or event after the last step reached, in the same visit; (exit): none; null: all steps done
);
