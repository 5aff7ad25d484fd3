-- grain: one row per check or count of the pipeline
-- inputs: raw.*, core.*, marts.traffic_daily
-- surprising row: a plain count has expected and is_ok null
-- reach: nothing else
create table if not exists meta.quality (
    check_name varchar not null, -- what was counted
    value double, -- what came out
    expected double, -- what must come out; null: a plain count
    is_ok boolean -- value equals expected; null: a plain count
);

with landed as (
    select
        coalesce(sum(read_n), 0) as read_n,
        coalesce(sum(new_n), 0) as new_n,
        coalesce(sum(duplicate_n), 0) as duplicate_n,
        coalesce(sum(rejected_n), 0) as rejected_n,
        coalesce(sum(gap_n), 0) as gap_n
    from raw.landings
    where landing_id <= $landed_to
),

placed as (
    select
        count(*) as event_n,
        count(*) filter (where is_page) as page_n,
        count(*) filter (where is_bot) as bot_n,
        count(*) filter (where person_id is null) as unidentified_n,
        count(session_no) as in_session_n
    from core.placements
),

counted as (
    select
        coalesce(sum(page_view_n), 0) as page_n,
        coalesce(sum(session_n), 0) as session_n,
        coalesce(sum(order_n), 0) as order_n,
        coalesce(sum(unconverted_n), 0) as unconverted_n
    from marts.traffic_daily
),

checks as (
    select 1 as rank, 'events read' as check_name, read_n as value, new_n + duplicate_n + rejected_n as expected from landed
    union all
    select 2, 'events stored', (select count(*) from raw.events where landing_id <= $landed_to), new_n from landed
    union all
    select 3, 'events in the models', (select count(*) from core.events), new_n from landed
    union all
    select 4, 'events with an owner or known to have none', event_n, (select count(*) from core.events) from placed
    union all
    select 5, 'events in sessions', (select coalesce(sum(event_n), 0) from core.sessions), in_session_n from placed
    union all
    select 6, 'page views in the daily numbers', c.page_n, p.page_n as placed_n from counted as c cross join placed as p
    union all
    select 7, 'sessions in the daily numbers', session_n, (select count(*) from core.sessions) from counted
    union all
    select 8, 'orders in the daily numbers', order_n, (select count(*) from core.orders) from counted
    union all
    select 9, 'events missing in gaps', gap_n, 0 from landed
    union all
    select 10, 'repeats left out', duplicate_n, null from landed
    union all
    select 11, 'events rejected', rejected_n, null from landed
    union all
    select 12, 'events of programs', bot_n, null from placed
    union all
    select 13, 'events that name nobody', unidentified_n, null from placed
    union all
    select 14, 'orders in a currency without a rate', unconverted_n, null from counted
    union all
    select 15, 'events that break the plan', (select count(distinct event_no) from core.violations), 0
    union all
    select 16, 'patterns that no event matches', (select count(*) from meta.definitions where problem = 'no event matches'), 0
    union all
    select
        17, 'definitions that nothing comes of',
        (select count(*) from meta.definitions where problem not in ('no event matches', 'every event matches')), 0
    union all
    select
        18, 'patterns that every event matches',
        (select count(*) from meta.definitions where problem = 'every event matches'), null
)

select
    check_name,
    cast(value as double) as value,
    cast(expected as double) as expected,
    value = expected as is_ok
from checks
order by rank
