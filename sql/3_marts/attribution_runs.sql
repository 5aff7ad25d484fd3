-- grain: one row per way that came to nothing: a person's touches, each at most the lookback after the one before
-- inputs: temp tables own_touches and conversions; $lookback, $horizon
-- surprising row: while a conversion may still follow the last touch the run is open, and no path counts it
-- reach: the persons touched; ripens a lookback after the last touch
create table if not exists marts.attribution_runs (
    person_id bigint not null, -- the person
    started_at timestamp not null, -- first touch, UTC
    ended_at timestamp not null, -- last touch, UTC
    date date not null, -- local date of ended_at
    touch_n bigint not null, -- touches, none of which was followed by a conversion within the lookback
    path varchar not null, -- their channels, joined by " > "; equal neighbours once, the last 20 at most
    is_open boolean not null -- a conversion may still follow
);

with unfollowed as (
    select t.*
    from own_touches as t
    where not exists (
        select 1 from conversions as c
        where
            c.person_id = t.person_id and not c.is_refund
            and c.converted_at >= t.touched_at and c.converted_at <= t.touched_at + $lookback
    )
),

spaced as (
    select
        *,
        coalesce(touched_at - lag(touched_at) over in_order > $lookback, true) as is_first,
        coalesce(channel <> lag(channel) over in_order, true) as is_change
    from unfollowed
    window in_order as (partition by person_id order by order_no)
),

numbered as (
    select
        *,
        count(*) filter (where is_first) over (partition by person_id order by order_no) as run_no
    from spaced
),

runs as (
    select
        person_id, run_no,
        min(touched_at) as started_at,
        max(touched_at) as ended_at,
        arg_max(date, order_no) as date,
        count(*) as touch_n,
        list(channel order by order_no) filter (where is_first or is_change) as channels
    from numbered
    group by person_id, run_no
)

select
    person_id,
    started_at,
    ended_at,
    date,
    touch_n,
    case when len(channels) > 20 then '(more) > ' else '' end || array_to_string(channels[-20:], ' > ') as path,
    ended_at + $lookback > $horizon as is_open
from runs
