-- grain: one row per retention, cohort_start, breakdown_value and period_no
-- inputs: marts.retention_entries; temp table cells; $retention, $period, $horizon, $min_occurrences, $reference
-- surprising row: a cohort that nobody entered has its rows under (all), with cohort_n 0 and no rates
-- reach: the cohorts of the changed entries, no others
create table if not exists marts.retention_cells (
    retention varchar not null, -- name of the retention definition
    period varchar not null, -- length of a period: day, week, month
    cohort_start date not null, -- local first day of the period of entry
    breakdown_value varchar not null, -- value of the breakdown at entry; (none) unknown; (all) without a breakdown
    period_no smallint not null, -- periods after entry, from 0; for brackets 0, then the brackets in order from 1
    from_no smallint not null, -- first period after entry that counts for the cell
    to_no smallint not null, -- last period after entry that counts for the cell
    cohort_n bigint not null, -- persons who entered
    retained_n bigint, -- of them, who returned often enough; null until the cell is complete
    retained_pct double, -- share of the cohort; reference = previous: of the cell before
    value double, -- value of the returns of the cohort in the cell; their number for value = count
    value_pct double, -- value as a share of that in period_no 0
    value_per_member double, -- value by persons who entered
    is_complete boolean not null, -- the periods that the cell needs are over for the last member
    is_final boolean not null, -- no later period can add to it
    is_censored boolean not null -- so near the first data that old customers look new
);

with entries as (
    select person_id, cohort_start, breakdown_value, period_no, occurrence_n, value
    from marts.retention_entries
    where retention = $retention and cohort_start in (select cohort_start from cells)
),

cohorts as (
    select cohort_start, breakdown_value, count(*) as cohort_n
    from entries
    where period_no = -1
    group by cohort_start, breakdown_value
),

grid as (
    select
        cells.cohort_start, coalesce(cohorts.breakdown_value, '(all)') as breakdown_value,
        cells.period_no, cells.from_no, cells.to_no,
        coalesce(cohorts.cohort_n, 0) as cohort_n,
        cells.complete_at <= $horizon as is_complete,
        cells.final_at <= $horizon as is_final,
        cells.is_censored
    from cells
    left join cohorts on cells.cohort_start = cohorts.cohort_start
),

returned as (
    select
        entries.cohort_start, entries.breakdown_value, cells.period_no, entries.person_id,
        sum(entries.occurrence_n) as occurrence_n,
        sum(entries.value) as value
    from entries
    inner join cells on entries.cohort_start = cells.cohort_start
    where entries.period_no between cells.from_no and cells.to_no
    group by entries.cohort_start, entries.breakdown_value, cells.period_no, entries.person_id
),

counted as (
    select
        cohort_start, breakdown_value, period_no,
        count(*) filter (where occurrence_n >= $min_occurrences) as retained_n,
        sum(value) as value
    from returned
    group by cohort_start, breakdown_value, period_no
),

filled as (
    select
        grid.cohort_start, grid.breakdown_value, grid.period_no, grid.from_no, grid.to_no, grid.cohort_n,
        case when grid.is_complete then coalesce(counted.retained_n, 0) end as retained_n,
        case when grid.is_complete then coalesce(counted.value, 0.0) end as value,
        grid.is_complete, grid.is_final, grid.is_censored
    from grid
    left join counted
        on
            grid.cohort_start = counted.cohort_start
            and grid.breakdown_value = counted.breakdown_value
            and grid.period_no = counted.period_no
),

compared as (
    select
        *,
        first_value(value) over cells_of_cohort as first_amount,
        case
            when $reference = 'previous' then coalesce(lag(retained_n) over cells_of_cohort, cohort_n) else cohort_n
        end as reference_n
    from filled
    window cells_of_cohort as (partition by cohort_start, breakdown_value order by period_no)
)

select
    $retention as retention,
    $period as period,
    cohort_start,
    breakdown_value,
    period_no,
    from_no,
    to_no,
    cohort_n,
    retained_n,
    retained_n / nullif(reference_n, 0) as retained_pct,
    value,
    value / nullif(first_amount, 0) as value_pct,
    value / nullif(cohort_n, 0) as value_per_member,
    is_complete,
    is_final,
    is_censored
from compared
