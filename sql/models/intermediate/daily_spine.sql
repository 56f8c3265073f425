-- Every day from a taxpayer's first submission of a session type to the day of the copy.
with spans as (
    select
        context_type,
        context_id,
        session_type,
        min(day) as first_day,
        max(day) as last_day
    from {{ ref('daily_counts') }}
    group by 1, 2, 3
)

select
    spans.context_type,
    spans.context_id,
    spans.session_type,
    cast(
        {{ days_from_to('spans.first_day', 'greatest(spans.last_day, as_of.as_of_day)') }} as date
    ) as day
from spans
cross join {{ ref('copy_moment') }} as as_of
