{% set taxpayer = 'context_type, context_id' %}
{% set grain = taxpayer ~ ', session_type' %}
{% set counts = ['accepted', 'failed', 'rejected', 'duplicate', 'system_error', 'cancelled',
    'session_failed', 'unclassified_failed', 'uncounted_failed', 'unaccounted', 'undated',
    'from_counters', 'pending', 'unread', 'accepted_in_rows', 'corrected', 'failed_first'] %}

with counted as (
    select
        {{ grain }}, day,
        {%- for count in counts %}
        coalesce(counts.{{ count }}_count, 0) as {{ count }}_count
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('daily_spine') }}
    left join {{ ref('daily_counts') }} as counts using ({{ grain }}, day)
)

-- Which accepted invoices had failed before is known once the failures up to their day are.
select
    *,
    accepted_count + failed_count as decided_count,
    accepted_in_rows_count - corrected_count as first_pass_count,
    accepted_in_rows_count - corrected_count + failed_first_count as first_attempt_count,
    cast(from_counters_count - session_failed_count + least(
        accepted_in_rows_count - corrected_count,
        sum(unclassified_failed_count) over (
            partition by {{ taxpayer }} order by day
            range between unbounded preceding and current row
        )
    ) as bigint) as first_pass_unknown_count
from counted
