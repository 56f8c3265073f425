{% set counts = ['submitted', 'accepted', 'rejected', 'duplicate', 'system_error', 'cancelled',
    'pending', 'unread', 'corrected', 'failed_first'] %}
{% set taxpayer = 'context_type, context_id, session_type' %}
{% set week = 'over (partition by ' ~ taxpayer
    ~ ' order by day rows between 6 preceding and current row)' %}

with counted as (
    select
        {{ taxpayer }}, day,
        {%- for count in counts %}
        cast(coalesce(counts.{{ count }}_count, 0) as bigint) as {{ count }}_count
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('daily_spine') }}
    left join {{ ref('daily_counts') }} as counts using ({{ taxpayer }}, day)
),

summed as (
    select
        *,
        rejected_count + duplicate_count + system_error_count + cancelled_count as failed_count,
        accepted_count - corrected_count as first_pass_count,
        accepted_count - corrected_count + failed_first_count as first_attempt_count
    from counted
),

rolling as (
    select
        *,
        accepted_count + failed_count as decided_count,
        sum(accepted_count) {{ week }} as accepted_7d,
        sum(failed_count) {{ week }} as failed_7d,
        sum(first_pass_count) {{ week }} as first_pass_7d,
        sum(first_attempt_count) {{ week }} as first_attempt_7d
    from summed
),

rated as (
    select *, {{ rate('accepted_7d', '(accepted_7d + failed_7d)') }} as success_rate_7d from rolling
)

select
    day, {{ taxpayer }},
    submitted_count, accepted_count, rejected_count, duplicate_count, system_error_count,
    cancelled_count, pending_count, unread_count, failed_count, decided_count,
    {{ rate('accepted_count', 'decided_count') }} as success_rate,
    {{ rate('failed_count', 'decided_count') }} as failure_rate,
    first_pass_count, first_attempt_count,
    {{ rate('first_pass_count', 'first_attempt_count') }} as first_pass_rate,
    cast(accepted_7d as bigint) as accepted_7d_count,
    cast(accepted_7d + failed_7d as bigint) as decided_7d_count,
    success_rate_7d,
    1 - success_rate_7d as failure_rate_7d,
    cast(first_pass_7d as bigint) as first_pass_7d_count,
    cast(first_attempt_7d as bigint) as first_attempt_7d_count,
    {{ rate('first_pass_7d', 'first_attempt_7d') }} as first_pass_rate_7d,
    success_rate_7d
        - lag(success_rate_7d, 7) over (partition by {{ taxpayer }} order by day)
        as success_rate_change
from rated
