{% set subject = 'context_type, context_id, subject_type' %}
{% set by_request = 'over (partition by ' ~ subject ~ ' order by requested_at, requested_from)' %}

with taken as (
    select
        *,
        lag(package_reference_number) {{ by_request }} as previous_package_reference_number,
        lag(next_from) {{ by_request }} as previous_next_from,
        lag(next_from_text) {{ by_request }} as previous_next_from_text
    from {{ ref('judged_packages') }}
    where outcome in ('complete', 'truncated', 'empty')
),

-- KSeF counts in ten-millionths of a second.
measured as (
    select
        *,
        10 * {{ microseconds_between('previous_next_from', 'requested_from') }}
            + {{ seventh_decimal('requested_from_text') }}
            - {{ seventh_decimal('previous_next_from_text') }} as ticks_between
    from taken
)

select
    {{ subject }},
    package_reference_number,
    requested_at,
    requested_from,
    requested_from_text,
    next_from,
    next_from_text,
    outcome,
    invoice_count,
    previous_package_reference_number,
    previous_next_from_text,
    case
        when previous_package_reference_number is null then 'first'
        when ticks_between > 0 then 'gap'
        when ticks_between < 0 then 'overlap'
        else 'touching'
    end as relation,
    {{ rate('abs(ticks_between)', 10000000) }} as difference_seconds
from measured
