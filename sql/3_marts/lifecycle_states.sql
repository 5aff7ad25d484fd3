-- grain: one row per person, period and period_start in which he was active, or the first in which he no longer was
-- inputs: core.placements of the touched persons; temp table active_days
-- surprising row: a dormant row may stand in a period that has not begun yet; marts.lifecycle counts it once it is over
-- reach: the persons touched, at any date
create table if not exists marts.lifecycle_states (
    person_id bigint not null, -- the person
    period varchar not null, -- day, week, month
    period_start date not null, -- first local date of the period; weeks begin on Monday
    state varchar not null -- new, returning, resurrecting, dormant
);

with periods as (
    select distinct person_id, 'day' as period, date as period_start, cast(date + 1 as date) as next_start
    from active_days
    union all
    select distinct
        person_id, 'week', cast(date_trunc('week', date) as date), cast(date_trunc('week', date) + interval 7 day as date)
    from active_days
    union all
    select distinct
        person_id, 'month', cast(date_trunc('month', date) as date), cast(date_trunc('month', date) + interval 1 month as date)
    from active_days
),

walked as (
    select
        *,
        lag(next_start) over of_person as expected_start,
        lead(period_start) over of_person as following_start
    from periods
    window of_person as (partition by person_id, period order by period_start)
)

select
    person_id,
    period,
    period_start,
    case
        when expected_start is null then 'new'
        when expected_start = period_start then 'returning'
        else 'resurrecting'
    end as state
from walked
union all by name
select
    person_id,
    period,
    next_start as period_start,
    'dormant' as state
from walked
where following_start is distinct from next_start
