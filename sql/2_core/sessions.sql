-- grain: one row per session: the events of one device without a pause of more than the gap, and without another cut
-- inputs: core.events and core.placements of the touched devices, core.agents, channels of the distinct first hits
-- surprising row: a session that may still go on has is_bounce null, and is_engaged null unless it is earned already
-- reach: the sessions of the same device whose run of events is touched; ripens after the gap
create table if not exists core.sessions (
    session_id varchar not null, -- first 32 hex digits of SHA-256 over source, anonymous id and first event id
    session_no bigint not null, -- event_no of its first event
    source varchar not null, -- configured name of the site or app
    device_id bigint not null, -- the device
    person_id bigint, -- last known customer named in it, else the owner of its last event
    started_at timestamp not null, -- first bearing event, UTC
    ended_at timestamp not null, -- last bearing event, UTC
    date date not null, -- local date of started_at
    event_n bigint not null, -- events that it holds
    page_view_n bigint not null, -- page and screen events
    key_event_n bigint not null, -- key events ([site] key_events)
    duration_s double not null, -- from the first to the last bearing event
    engaged_visible_ms double, -- milliseconds the page was visible and focused; null: the tracker does not say
    engaged_ping_s double, -- engaged time by heartbeats; null: the tracker sends none
    entry_path varchar, -- path of the first page
    exit_path varchar, -- path of the last page
    channel varchar, -- channel of the first page's hit; null: no page
    traffic_source varchar, -- source of the first page's hit
    traffic_medium varchar, -- medium of the first page's hit
    utm_source varchar, -- campaign source as tagged on the first page
    utm_medium varchar, -- campaign medium as tagged on the first page
    utm_campaign varchar, -- campaign name as tagged on the first page
    device varchar, -- desktop, mobile, tablet, tv, other
    browser varchar, -- family of the browser
    os varchar, -- family of the operating system
    country varchar, -- first country known in it
    id_kind varchar, -- where the device's id comes from
    is_bounce boolean, -- one page view and nothing done; null while open
    is_engaged boolean, -- 10 engaged seconds, a key event or two page views; null while open and not earned
    is_converted boolean, -- holds a key event; null while open and not earned
    is_open boolean not null, -- may still go on: the gap is not over at the horizon
    is_bot boolean not null, -- holds an event of a program
    bot_kind varchar, -- crawler, ai_agent, monitor, script: of its first flagged event; null: people
    bot_rule varchar, -- the rule that flagged that event
    start_rule varchar not null -- what cut it: gap, cap, midnight, client_id, campaign, user_change, manual
);

with held as not materialized (
    select
        p.session_no, p.view_no, p.order_no, p.person_id, p.start_rule, p.engaged_ms, e.device_id, e.source, e.event_id,
        e.event_at, e.date, e.name, e.user_person_id, e.id_kind, e.is_page, e.is_bearing, e.is_interactive, e.is_bot, e.bot_kind,
        e.bot_rule, e.path,
        e.country, e.library, e.agent_id, e.utm_source, e.utm_medium, e.utm_campaign, e.click_id, e.referrer_host, e.is_ping
    from placed as p
    inner join touched_events as e on p.event_no = e.event_no
    where p.session_no is not null
),

visible as (
    select session_no, sum(engaged_ms) as engaged_visible_ms
    from held
    where engaged_ms is not null
    group by session_no
),

pinged_pages as (
    select
        session_no, view_no,
        $heartbeat_s * (count(distinct epoch_us(event_at) // ($heartbeat_s * 1000000)) - 1) + $min_visit_s as ping_s
    from held
    where is_ping
    group by session_no, view_no
),

-- A tracker that pings and did not: nobody was there.
silent_pages as (
    select distinct session_no, 0 as ping_s
    from held
    where library in (select library from rules.signals where signal = 'ping')
),

pinged as (
    select session_no, sum(ping_s) as engaged_ping_s
    from (
        select session_no, ping_s from pinged_pages
        union all
        select session_no, ping_s from silent_pages
    ) as pages
    group by session_no
),

gathered as (
    select
        session_no,
        any_value(device_id) as device_id,
        any_value(source) as source,
        any_value(start_rule) as start_rule,
        coalesce(arg_max(user_person_id, order_no), arg_max(person_id, order_no)) as person_id,
        min(order_no) filter (where is_bearing) as first_no,
        arg_min(event_id, order_no) filter (where is_bearing) as first_event_id,
        min(event_at) filter (where is_bearing) as started_at,
        max(event_at) filter (where is_bearing) as ended_at,
        arg_min(date, order_no) filter (where is_bearing) as date,
        count(*) as event_n,
        count(*) filter (where is_page) as page_view_n,
        count(*) filter (where name in (select name from key_names)) as key_event_n,
        count(*) filter (where is_interactive and is_bearing) as interactive_n,
        arg_min(path, order_no) filter (where is_page) as entry_path,
        arg_max(path, order_no) filter (where is_page) as exit_path,
        min(order_no) filter (where is_page) as first_page_no,
        arg_min(agent_id, order_no) as agent_id,
        arg_min(country, order_no) as country,
        arg_min(id_kind, order_no) as id_kind,
        bool_or(is_bot) as is_bot,
        arg_min(bot_kind, order_no) filter (where is_bot) as bot_kind,
        arg_min(bot_rule, order_no) filter (where is_bot) as bot_rule
    from held
    group by session_no
),

entries as (
    select
        g.session_no, h.utm_source, h.utm_medium, h.utm_campaign, c.traffic_source, c.traffic_medium, c.channel
    from gathered as g
    inner join held as h on g.session_no = h.session_no and g.first_page_no = h.order_no
    left join hit_channels as c
        on
            h.utm_source is not distinct from c.utm_source
            and h.utm_medium is not distinct from c.utm_medium
            and h.utm_campaign is not distinct from c.utm_campaign
            and h.click_id is not distinct from c.click_id
            and h.referrer_host is not distinct from c.referrer_host
),

judged as (
    select
        g.*,
        v.engaged_visible_ms,
        p.engaged_ping_s,
        g.ended_at + $gap > $horizon
        and g.first_no = max(g.first_no) over (partition by g.device_id) as is_open,
        coalesce(v.engaged_visible_ms / 1000.0, p.engaged_ping_s, 0) >= 10 or g.key_event_n > 0 or g.page_view_n > 1
            as has_engaged
    from gathered as g
    left join visible as v on g.session_no = v.session_no
    left join pinged as p on g.session_no = p.session_no
)

select
    substr(sha256(concat_ws(chr(31), j.source, d.anonymous_id, j.first_event_id)), 1, 32) as session_id,
    j.session_no,
    j.source,
    j.device_id,
    j.person_id,
    j.started_at,
    j.ended_at,
    j.date,
    j.event_n,
    j.page_view_n,
    j.key_event_n,
    date_diff('microsecond', j.started_at, j.ended_at) / 1000000.0 as duration_s,
    j.engaged_visible_ms,
    j.engaged_ping_s,
    j.entry_path,
    j.exit_path,
    e.channel,
    e.traffic_source,
    e.traffic_medium,
    e.utm_source,
    e.utm_medium,
    e.utm_campaign,
    a.device,
    a.browser,
    a.os,
    j.country,
    j.id_kind,
    case when not j.is_open then j.page_view_n = 1 and j.key_event_n = 0 and j.interactive_n = 0 end as is_bounce,
    case when j.has_engaged then true when not j.is_open then false end as is_engaged,
    case when j.key_event_n > 0 then true when not j.is_open then false end as is_converted,
    j.is_open,
    j.is_bot,
    j.bot_kind,
    j.bot_rule,
    j.start_rule
from judged as j
inner join core.devices as d on j.device_id = d.device_id
left join core.agents as a on j.agent_id = a.agent_id
left join entries as e on j.session_no = e.session_no
