-- grain: one row per landed event, with its corrected time, its place and its device
-- inputs: raw.events, core.agents, and what transforms/events.py reads once a batch: names, pages, referrers, networks
-- surprising row: an event with neither anonymous id nor user id has no device and no person
-- reach: nothing else; the bot flag: all events of the device on that local date
create table if not exists core.events (
    event_no bigint not null, -- number of the row in the order of landing; joins to raw.events
    event_id varchar not null, -- the client's id, else one that the collector made
    source varchar not null, -- configured name of the site or app
    type varchar not null, -- track, page, screen, identify, group, alias
    name varchar not null, -- name as sent, else the type
    event_at timestamp not null, -- when it happened, corrected for the client's clock, UTC
    ts_rule varchar not null, -- trusted, corrected, client, received, clamped: how event_at was found
    skew_ms bigint, -- how far the client's clock was behind ours; null: unknown
    date date not null, -- local date of event_at in the site's time zone
    received_at timestamp not null, -- when the collector took it, UTC
    seq bigint, -- the client's counter for a device
    device_id bigint, -- the device, a keyed hash; null: no anonymous id
    user_person_id bigint, -- the known customer that the event names, a keyed hash; null: none
    id_kind varchar, -- local, session, daily, given
    session_hint varchar, -- session id as the client says it
    page_view_id varchar, -- page view that the event belongs to, as the client says
    is_page boolean not null, -- a page or screen event
    is_bearing boolean not null, -- may start or lengthen a session
    is_interactive boolean not null, -- a custom event that keeps its session from being a bounce
    host varchar, -- host of the page
    path varchar, -- path of the page without query, ids folded, cleaned by [[page]]
    referrer_host varchar, -- host of the page before; null: none, or an own domain
    utm_source varchar, -- campaign source as tagged
    utm_medium varchar, -- campaign medium as tagged
    utm_campaign varchar, -- campaign name as tagged
    click_id varchar, -- name of the ad click parameter that came with the page, for example gclid
    campaign_key bigint, -- h64 of a page's campaign tags, without them of its ad click; null: no campaign
    agent_id bigint, -- the user agent in core.agents; null: none was sent
    country varchar, -- country as the client or the collector says
    library varchar, -- client library that sent it
    viewport_w integer, -- width of the window in pixels; null: not said, or no width that a window can have
    viewport_h integer, -- height of the window in pixels, as viewport_w
    document_h integer, -- height of the whole page in pixels, as viewport_w
    is_bot boolean not null, -- made by a program
    bot_kind varchar, -- crawler, ai_agent, monitor, script
    bot_rule varchar, -- the rule that flagged it
    engaged_ms double, -- visible and focused milliseconds that this event reports, as it says
    is_ping boolean, -- a heartbeat
    properties json -- what the caller put there, whole
);

with landed as (
    select
        event_no, event_id, source, ingest, type, name, anonymous_id, user_id, id_kind, session_hint, page_view_id, seq,
        occurred_at, sent_at, received_at, url, referrer, properties,
        from_json(context, '{
            "ua": "varchar", "country": "varchar", "click_id": {"name": "varchar", "value": "varchar"}, "time_source": "varchar", "ip_prefix": "varchar",
            "viewport_w": "double", "viewport_h": "double", "document_h": "double",
            "library": "json", "campaign": {"source": "varchar", "medium": "varchar", "name": "varchar"}
        }') as said,
        from_json(properties, '{"engaged_ms": "double", "ping": "boolean", "interactive": "boolean"}') as told
    from raw.events
    where event_no > $after and event_no <= $upto
),

timed as (
    select
        *,
        case
            when ingest = 'import' then 'trusted'
            when said.time_source = 'received' then 'received'
            when sent_at is not null and occurred_at + (received_at - sent_at) > received_at then 'clamped'
            when sent_at is not null then 'corrected'
            when occurred_at between received_at - interval 30 days and received_at then 'client'
            else 'received'
        end as ts_rule
    from landed
),

placed as (
    select
        *,
        case ts_rule
            when 'trusted' then occurred_at
            when 'client' then occurred_at
            when 'corrected' then occurred_at + (received_at - sent_at)
            else received_at
        end as event_at,
        json_extract_string(said.library, '$.name') as library,
        coalesce(json_extract_string(said.library, '$.name'), '') in (
            select name from rules.libraries where runs_on = 'server'
        ) as is_from_server,
        -- only a browser's own client always carries a user agent
        ingest = 'live' and coalesce(said.ua, '') = ''
        and coalesce(json_extract_string(said.library, '$.name'), '') in (
            select name from rules.libraries
            where runs_on = 'browser'
        ) as is_nameless,
        case
            when type not in ('page', 'screen') then null
            when trim(concat(said.campaign.source, said.campaign.medium, said.campaign.name)) <> ''
                then concat_ws(
                    chr(31), lower(trim(coalesce(said.campaign.source, ''))), lower(trim(coalesce(said.campaign.medium, ''))),
                    lower(trim(coalesce(said.campaign.name, '')))
                )
            when lower(trim(said.click_id.name)) in (select param from rules.click_ids)
                then concat_ws(chr(31), lower(trim(said.click_id.name)), coalesce(said.click_id.value, ''))
        end as campaign
    from timed
)

select
    e.event_no,
    e.event_id,
    e.source,
    e.type,
    e.name,
    e.event_at,
    e.ts_rule,
    date_diff('millisecond', e.sent_at, e.received_at) as skew_ms,
    cast(timezone($timezone, timezone('UTC', e.event_at)) as date) as date,
    e.received_at,
    e.seq,
    d.device_id,
    u.person_id as user_person_id,
    e.id_kind,
    e.session_hint,
    e.page_view_id,
    e.type in ('page', 'screen') as is_page,
    not n.is_ignored
    and not (n.is_ignored_without_url and e.url is null)
    and not e.is_from_server as is_bearing,
    e.type = 'track' and coalesce(e.told.interactive, true) as is_interactive,
    p.host,
    coalesce(p.path, case when e.type = 'screen' then json_extract_string(e.properties, '$.name') end) as path,
    r.host as referrer_host,
    e.said.campaign.source as utm_source,
    e.said.campaign.medium as utm_medium,
    e.said.campaign.name as utm_campaign,
    e.said.click_id.name as click_id,
    case
        when e.campaign is not null
            then cast(cast('0x' || substr(sha256(e.campaign), 1, 16) as ubigint) & 9223372036854775807 as bigint)
    end as campaign_key,
    a.agent_id,
    e.said.country as country,
    e.library,
    -- browsers lay out nothing beyond 2^25 pixels; no number (NaN) is between
    case when e.said.viewport_w between 0 and 33554432 then cast(round(e.said.viewport_w) as integer) end as viewport_w,
    case when e.said.viewport_h between 0 and 33554432 then cast(round(e.said.viewport_h) as integer) end as viewport_h,
    case when e.said.document_h between 0 and 33554432 then cast(round(e.said.document_h) as integer) end as document_h,
    coalesce(a.is_bot, false) or e.is_nameless or w.kind is not null as is_bot,
    case when a.is_bot then a.bot_kind when e.is_nameless then 'script' else w.kind end as bot_kind,
    case when a.is_bot then a.bot_rule when e.is_nameless then 'empty user agent' else w.bot_rule end as bot_rule,
    e.told.engaged_ms as engaged_ms,
    e.told.ping as is_ping,
    e.properties
from placed as e
inner join batch_names as n on e.name = n.name
left join batch_devices as d on e.source = d.source and e.anonymous_id = d.anonymous_id
left join batch_users as u on e.user_id = u.user_id
-- a server's own client names itself: that is no program visiting
left join core.agents as a on e.said.ua = a.ua and not e.is_from_server
left join batch_networks as w on e.said.ip_prefix = w.ip_prefix
left join batch_pages as p on e.url = p.url
left join batch_referrers as r on e.referrer = r.referrer and coalesce(p.host, '') = r.page_host
