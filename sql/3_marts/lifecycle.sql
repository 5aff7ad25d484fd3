-- grain: one row per period, period_start and state
-- inputs: marts.lifecycle_states; temp table lifecycle_periods; $horizon
-- surprising row: a person is dormant once, in the first period without him; later ones count him nowhere until he is back
-- reach: the periods of the changed persons' states, no others; ripens at the end of a period
create table if not exists marts.lifecycle (
    period varchar not null, -- day, week, month
    period_start date not null, -- first local date of the period; weeks begin on Monday
    state varchar not null, -- new, returning (active before too), resurrecting (after a pause), dormant (no longer active)
    person_n bigint, -- persons; of dormant null until the period is over
    is_complete boolean not null -- the period is over at the horizon
);

with counted as (
    select period, period_start, state, count(*) as person_n
    from marts.lifecycle_states
    where (period, period_start) in (select period, period_start from lifecycle_periods)
    group by period, period_start, state
),

states as (
    select unnest(['new', 'returning', 'resurrecting', 'dormant']) as state
)

select
    p.period,
    p.period_start,
    s.state,
    case when s.state <> 'dormant' or p.period_end_at <= $horizon then coalesce(c.person_n, 0) end as person_n,
    p.period_end_at <= $horizon as is_complete
from lifecycle_periods as p
cross join states as s
left join counted as c on p.period = c.period and p.period_start = c.period_start and s.state = c.state
