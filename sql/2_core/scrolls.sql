-- grain: one row per event that tells how far a page was scrolled or what was in view
-- inputs: core.events
-- surprising row: an event whose values are all unusable is here for its invalid_n
-- reach: nothing else
create table if not exists core.scrolls (
    event_no bigint not null, -- the event
    date date not null, -- local date of the event
    scroll_max_pct double, -- lowest line seen, in hundredths of the page's height
    scroll_reversals double, -- changes of the scroll direction on its page view so far
    glances struct(scroll_y double, ms double)[], -- how long the page was seen how far scrolled; scroll_y null: not known
    bottom_y double, -- farthest scroll position that it tells, pixels
    glanced_ms double, -- sum of the glances
    invalid_n bigint not null -- values that were negative, not finite or beyond 2^25 pixels
);

with told as (
    select
        event_no, date,
        from_json(properties, '{
            "scroll_max_pct": "double", "scroll_reversals": "double", "scroll_y": "double",
            "intervals": [{"scroll_y": "double", "ms": "double"}]
        }') as told
    from core.events
    where event_no > $after and event_no <= $upto and name in ('Scroll Reached', 'Engaged')
),

-- NaN is greater than all numbers, so it is not between; a day is the longest that a report may tell of
seen as (
    select
        event_no, date, told,
        list_filter(told.intervals, lambda one: coalesce(one.ms between 0 and 86400000, false)) as timed
    from told
),

placed as (
    select
        event_no, date, told,
        list_transform(timed, lambda one: {
            'scroll_y': case when one.scroll_y between 0 and 33554432 then one.scroll_y end, 'ms': one.ms
        }) as glances,
        len(told.intervals) - len(timed)
        + len(list_filter(timed, lambda one: not coalesce(one.scroll_y between 0 and 33554432, false)))
            as bad_n
    from seen
)

select
    event_no,
    date,
    case when told.scroll_max_pct >= 0 and isfinite(told.scroll_max_pct) then least(told.scroll_max_pct, 100) end
        as scroll_max_pct,
    case when told.scroll_reversals >= 0 and isfinite(told.scroll_reversals) then told.scroll_reversals end
        as scroll_reversals,
    glances,
    greatest(
        list_max(list_transform(glances, lambda one: one.scroll_y)),
        case when told.scroll_y between 0 and 33554432 then told.scroll_y end
    ) as bottom_y,
    list_sum(list_transform(glances, lambda one: one.ms)) as glanced_ms,
    coalesce(bad_n, 0)
    + case when told.scroll_max_pct < 0 or not isfinite(told.scroll_max_pct) then 1 else 0 end
    + case when told.scroll_y < 0 or told.scroll_y > 33554432 then 1 else 0 end as invalid_n
from placed
where
    told.scroll_max_pct is not null or told.scroll_reversals is not null or told.intervals is not null
    or told.scroll_y is not null
