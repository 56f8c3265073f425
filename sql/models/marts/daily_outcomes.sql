{% set grain = 'context_type, context_id, session_type' %}
{% set sevens = ['accepted', 'failed', 'first_pass', 'first_attempt', 'first_pass_unknown',
    'from_counters', 'unread_attempt', 'doubtful_pass', 'doubtful_failure'] %}

with rolling as (
    select
        *,
        {%- for count in sevens %}
        cast(sum({{ count }}_count) over (
            partition by {{ grain }} order by day rows between 6 preceding and current row
        ) as bigint) as {{ count }}_7d{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('daily_sums') }}
),

rated as (
    select *, {{ rate('failed_7d', '(accepted_7d + failed_7d)') }} as failure_rate_7d from rolling
)

select
    day, {{ grain }},
    accepted_count + failed_count + pending_count + unaccounted_count as submitted_count,
    accepted_count, rejected_count, duplicate_count, system_error_count, cancelled_count,
    session_failed_count, unclassified_failed_count, uncounted_failed_count,
    pending_count, unaccounted_count, unread_count, failed_count, decided_count,
    from_counters_count,
    {{ rate('from_counters_count', 'decided_count') }} as from_counters_share,
    undated_count,
    {{ rate('accepted_count', 'decided_count') }} as success_rate,
    {{ rate('failed_count', 'decided_count') }} as failure_rate,
    first_pass_count, first_attempt_count, first_pass_unknown_count,
    unread_attempt_count, doubtful_pass_count, doubtful_failure_count,
    case when first_pass_unknown_count = 0
        then {{ rate('first_pass_count', 'first_attempt_count') }} end as first_pass_rate,
    accepted_7d as accepted_7d_count,
    accepted_7d + failed_7d as decided_7d_count,
    from_counters_7d as from_counters_7d_count,
    1 - failure_rate_7d as success_rate_7d,
    failure_rate_7d,
    first_pass_7d as first_pass_7d_count,
    first_attempt_7d as first_attempt_7d_count,
    first_pass_unknown_7d as first_pass_unknown_7d_count,
    case when first_pass_unknown_7d = 0
        then {{ rate('first_pass_7d', 'first_attempt_7d') }} end as first_pass_rate_7d,
    {{ rate('(first_pass_7d - doubtful_pass_7d)',
        '(first_attempt_7d - doubtful_pass_7d + unread_attempt_7d)') }}
        as lowest_first_pass_rate_7d,
    {{ rate('(first_pass_7d + unread_attempt_7d)',
        '(first_attempt_7d - doubtful_failure_7d + unread_attempt_7d)') }}
        as highest_first_pass_rate_7d,
    lag(failure_rate_7d, 7) over (partition by {{ grain }} order by day) - failure_rate_7d
        as success_rate_change
from rated
