{% set grain = 'day, context_type, context_id' %}

with days as (
    select {{ grain }}, sum(failed_count + uncounted_failed_count) as in_days
    from {{ ref('daily_outcomes') }}
    group by {{ grain }}
),

reasons as (
    select
        {{ grain }},
        sum(failed_count) as in_reasons,
        sum(failed_count) - max(all_failed_count) as difference_count
    from {{ ref('failure_reasons') }}
    group by {{ grain }}
),

by_session as (
    select {{ grain }}, sum(failed_count) as in_sessions
    from {{ ref('session_reasons') }}
    group by {{ grain }}
)

select *
from days
full join reasons using ({{ grain }})
full join by_session using ({{ grain }})
where coalesce(in_days, 0) != coalesce(in_reasons, 0)
    or coalesce(in_reasons, 0) != coalesce(in_sessions, 0)
    or difference_count != 0
