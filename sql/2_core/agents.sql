-- grain: one row per user agent string ever seen
-- inputs: raw.events
-- surprising row: a string that no list knows has device, browser and os null
-- reach: nothing else
create table if not exists core.agents (
    agent_id bigint not null, -- h64 of the string
    ua varchar not null, -- user agent as sent
    device varchar, -- desktop, mobile, tablet, tv, other
    browser varchar, -- family of the browser
    os varchar, -- family of the operating system
    is_bot boolean not null, -- a published or own list names it
    bot_kind varchar, -- crawler, ai_agent, monitor, script
    bot_rule varchar -- the rule that named it
);
