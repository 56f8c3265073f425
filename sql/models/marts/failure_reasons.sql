{% set same_day = 'over (partition by day, context_type, context_id)' %}
{% set same_reason = 'over (partition by context_type, context_id, category, normalised_message)' %}

with counted as (
    select
        day, context_type, context_id, category, normalised_message,
        min(category_meaning) as category_meaning,
        min(who_acts) as who_acts,
        min(what_to_do) as what_to_do,
        sum(failed_count) as failed_count,
        sum(open_failed_count) as open_failed_count,
        min(first_at) as first_at,
        max(last_at) as last_at,
        min(example_reason) as example_reason,
        min(session_reference_number || coalesce('/' || example_invoice, '')) as example_invoice
    from {{ ref('counted_reasons') }}
    group by 1, 2, 3, 4, 5
)

select
    day,
    context_type,
    context_id,
    category,
    category_meaning,
    who_acts,
    what_to_do,
    normalised_message,
    cast(failed_count as bigint) as failed_count,
    cast(open_failed_count as bigint) as open_failed_count,
    cast(sum(failed_count) {{ same_day }} as bigint) as all_failed_count,
    {{ rate('failed_count', 'sum(failed_count) ' ~ same_day) }} as share_of_failures,
    min(first_at) {{ same_reason }} as first_seen_at,
    max(last_at) {{ same_reason }} as last_seen_at,
    example_reason,
    example_invoice
from counted
