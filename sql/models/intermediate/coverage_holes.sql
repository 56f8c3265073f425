{% set subject = 'context_type, context_id, subject_type' %}
{% set epoch = as_type("'1970-01-01 00:00:00+00'", 'timestamp with time zone') %}
{% set earlier = 'over (partition by ' ~ subject ~ ' order by begin_ticks, end_ticks '
    ~ 'rows between unbounded preceding and 1 preceding)' %}

-- KSeF counts in ten-millionths of a second.
with windows as (
    select
        {{ subject }}, requested_from, next_from,
        10 * {{ microseconds_between(epoch, 'requested_from') }}
            + {{ seventh_decimal('requested_from_text') }} as begin_ticks,
        10 * {{ microseconds_between(epoch, 'next_from') }}
            + {{ seventh_decimal('next_from_text') }} as end_ticks
    from {{ ref('joined_windows') }}
),

-- By where they begin, not by when they were asked for: a later window may fill an earlier gap.
sorted as (
    select
        *,
        max(next_from) {{ earlier }} as reached_at,
        max(end_ticks) {{ earlier }} as reached_ticks
    from windows
)

select {{ subject }}, 'gap' as kind, reached_at as hole_from, requested_from as hole_to
from sorted
where begin_ticks > reached_ticks
union all
select {{ subject }}, 'rows_lost' as kind, requested_from as hole_from, next_from as hole_to
from {{ ref('package_contents') }}
where metadata_count > rows_in_window_count
