{% set subject = 'context_type, context_id, subject_type' %}
{% set reached_day = warsaw_day('coverage.exported_to') %}
{% set month_end = next_month('months.month') %}
{% set slack_end = days_after(month_end, var('issue_slack_days')) %}

with exported_days as (
    select {{ subject }}, {{ day_of_row(warsaw_day('exported_from')) }} as day
    from {{ ref('subject_coverage') }}
    {{ join_each_day(warsaw_day('exported_from'), warsaw_day('exported_to')) }}
),

months as (
    select distinct {{ subject }}, month
    from (
        select {{ subject }}, month from {{ ref('invoice_roles') }}
        union all select {{ subject }}, {{ month_of('day') }} as month from exported_days
    ) as both_sources
),

missing as (
    select context_type, context_id, 'Subject1' as subject_type, month, count(*) as missing_count
    from {{ ref('accepted_numbers') }}
    where export_state = 'missing'
    group by context_type, context_id, month
),

holes as (
    select {{ subject }}, months.month, count(*) as hole_count
    from months
    inner join {{ ref('coverage_holes') }} as holes using ({{ subject }})
    where {{ warsaw_day('hole_to') }} >= months.month and {{ warsaw_day('hole_from') }} < {{ slack_end }}
    group by {{ subject }}, months.month
),

judged as (
    select
        {{ subject }}, month, exported_from, exported_to,
        cast(coalesce(missing_count, 0) as bigint) as missing_export_count,
        case
            when coverage.exported_to is null then 'never_exported'
            when {{ warsaw_day('coverage.exported_from') }} > month then 'exports_begin_later'
            when {{ reached_day }} < {{ month_end }} then 'exports_end_earlier'
            when hole_count > 0 then 'hole_in_exports'
            when missing_count > 0 then 'accepted_invoices_missing'
            when {{ reached_day }} < {{ slack_end }} then 'late_invoices_may_follow'
        end as doubt
    from months
    left join {{ ref('subject_coverage') }} as coverage using ({{ subject }})
    left join holes using ({{ subject }}, month)
    left join missing using ({{ subject }}, month)
)

select
    *,
    case
        when doubt is null then 'complete'
        when doubt in ('never_exported', 'late_invoices_may_follow') then 'cannot_tell'
        else 'not_complete'
    end as completeness
from judged
