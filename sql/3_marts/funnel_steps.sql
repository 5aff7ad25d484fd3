-- grain: one row per funnel, period_start, breakdown_value and step_no
-- inputs: marts.funnel_attempts; temp tables steps and cells; $funnel, $period, $horizon, $timezone, $complete_after
-- surprising row: a period in which nobody entered has its rows under (all), with reached_n 0 and no rates
-- reach: the entry periods of the changed attempts, no others
create table if not exists marts.funnel_steps (
    funnel varchar not null, -- name of the funnel definition
    period varchar not null, -- length of the entry period: day, week, month, all
    period_start date not null, -- local first day of the period in which attempts began
    breakdown_value varchar not null, -- value of the breakdown; (none) unknown; (all) without a breakdown
    step_no smallint not null, -- number of the step, from 1
    step_name varchar not null, -- event or page pattern of the step
    reached_n bigint, -- attempts that reached the step; null until the row is complete
    reached_n_to_date bigint not null, -- attempts that reached it so far
    step_pct double, -- share of those at the step before; at step 1 of itself
    overall_pct double, -- share of those at step 1
    overall_lo double, -- lower Wilson 95 % bound of overall_pct
    overall_hi double, -- upper Wilson 95 % bound of overall_pct
    from_start_median_s double, -- median seconds from step 1, over those who reached the step
    from_start_p90_s double, -- 90th percentile of seconds from step 1
    from_prev_median_s double, -- median seconds from the step before; null at step 1
    open_n bigint not null, -- attempts of the cell that can still go deeper
    excluded_n bigint not null, -- attempts of the cell that an exclude event took out
    is_complete boolean not null -- every window that began in the period is over
);

with attempts as (
    select period_start, breakdown_value, depth, step_at, is_open, is_excluded
    from marts.funnel_attempts
    where funnel = $funnel and period_start in (select period_start from cells)
),

periods as (
    select
        period_start,
        -- one over all time ends where windows are over, which may be before it begins
        period_end_at + $complete_after <= $horizon
        and period_start <= cast(timezone($timezone, timezone('UTC', $horizon - $complete_after)) as date)
            as is_complete
    from cells
),

groups as (
    select distinct
        periods.period_start, periods.is_complete,
        coalesce(attempts.breakdown_value, '(all)') as breakdown_value
    from periods
    left join attempts on periods.period_start = attempts.period_start
),

outcomes as (
    select
        period_start, breakdown_value,
        count(*) filter (where is_open) as open_n,
        count(*) filter (where is_excluded) as excluded_n
    from attempts
    group by period_start, breakdown_value
),

reached as (
    select
        a.period_start, a.breakdown_value, s.step_no,
        date_diff('microsecond', a.step_at[1], a.step_at[s.step_no]) / 1e6 as from_start_s,
        date_diff('microsecond', a.step_at[s.step_no - 1], a.step_at[s.step_no]) / 1e6 as from_prev_s
    from attempts as a
    inner join steps as s on a.depth >= s.step_no
    where not a.is_excluded
),

counted as (
    select
        period_start, breakdown_value, step_no,
        count(*) as reached_n,
        quantile_cont(from_start_s, 0.5) as from_start_median_s,
        quantile_cont(from_start_s, 0.9) as from_start_p90_s,
        case when step_no > 1 then quantile_cont(from_prev_s, 0.5) end as from_prev_median_s
    from reached
    group by period_start, breakdown_value, step_no
),

cells_of_steps as (
    select
        groups.period_start, groups.breakdown_value, groups.is_complete, steps.step_no, steps.step_name,
        coalesce(counted.reached_n, 0) as reached_n,
        counted.from_start_median_s, counted.from_start_p90_s, counted.from_prev_median_s,
        coalesce(outcomes.open_n, 0) as open_n,
        coalesce(outcomes.excluded_n, 0) as excluded_n
    from groups
    cross join steps
    left join counted
        on
            groups.period_start = counted.period_start
            and groups.breakdown_value = counted.breakdown_value
            and steps.step_no = counted.step_no
    left join outcomes
        on groups.period_start = outcomes.period_start and groups.breakdown_value = outcomes.breakdown_value
),

shares as (
    select
        *,
        first_value(reached_n) over steps_of_cell as n,
        lag(reached_n) over steps_of_cell as before_n,
        reached_n / nullif(first_value(reached_n) over steps_of_cell, 0) as p,
        1.959964 as z
    from cells_of_steps
    window steps_of_cell as (partition by period_start, breakdown_value order by step_no)
),

-- Wilson's interval of p, the share of the n who entered
intervals as (
    select
        *,
        (p + z * z / (2 * n)) / (1 + z * z / n) as centre,
        z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n) as half_width
    from shares
)

select
    $funnel as funnel,
    $period as period,
    period_start,
    breakdown_value,
    step_no,
    step_name,
    case when is_complete then reached_n end as reached_n,
    reached_n as reached_n_to_date,
    case when is_complete then reached_n / nullif(coalesce(before_n, n), 0) end as step_pct,
    case when is_complete then p end as overall_pct,
    case when is_complete then centre - half_width end as overall_lo,
    case when is_complete then centre + half_width end as overall_hi,
    case when is_complete then from_start_median_s end as from_start_median_s,
    case when is_complete then from_start_p90_s end as from_start_p90_s,
    case when is_complete then from_prev_median_s end as from_prev_median_s,
    open_n,
    excluded_n,
    is_complete
from intervals
