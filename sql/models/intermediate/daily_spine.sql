-- Every day from a taxpayer's first submission of a session type to the day of the copy.
with firsts as (
    select context_type, context_id, session_type, min(day) as first_day
    from {{ ref('daily_counts') }}
    group by 1, 2, 3
)

select
    firsts.context_type,
    firsts.context_id,
    firsts.session_type,
    {{ day_of_row('firsts.first_day') }} as day
from firsts
cross join {{ ref('copy_moment') }} as copy
{{ join_each_day('firsts.first_day', 'copy.as_of_day') }}
