-- Whatever was read: a rate of what happens to be stored would be of no use.
{% set grain = 'context_type, context_id, session_type' %}

with days as (
    select
        {{ grain }},
        sum(accepted_count) as accepted,
        sum(failed_count) as failed,
        sum(unread_count) as unread
    from {{ ref('daily_outcomes') }}
    group by {{ grain }}
),

sessions as (
    select
        {{ grain }},
        coalesce({{ sum_where('accepted_count', 'not is_open') }}, 0) as ksef_accepted,
        coalesce({{ sum_where('failed_count', 'not is_open') }}, 0) as ksef_failed,
        sum(unread_count) as ksef_unread
    from {{ ref('sessions') }}
    group by {{ grain }}
)

select *
from days
full join sessions using ({{ grain }})
where coalesce(accepted, 0) != coalesce(ksef_accepted, 0)
    or coalesce(failed, 0) != coalesce(ksef_failed, 0)
    or coalesce(unread, 0) != coalesce(ksef_unread, 0)
