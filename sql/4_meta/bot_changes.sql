-- grain: one row per build, thing counted, and audience before and after, of what changed rules moved
-- inputs: core.events and core.sessions before and after a build that made all events anew
-- surprising row: a visitor moves only when the last session that was a person's, or the first that is, moves
-- reach: nothing else
create table if not exists meta.bot_changes (
    build_id bigint not null, -- the build
    counted varchar not null, -- events, sessions, visitors
    was_kind varchar, -- crawler, ai_agent, monitor, script before; null: people
    was_rule varchar, -- the rule that said so before
    now_kind varchar, -- crawler, ai_agent, monitor, script now; null: people
    now_rule varchar, -- the rule that says so now
    moved_n bigint not null -- how many moved
);
