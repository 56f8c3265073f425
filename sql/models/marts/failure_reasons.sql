with counted as (
    select
        submitted_day as day,
        context_type,
        context_id,
        category,
        normalised_message,
        count(*) as failed_count,
        min(submitted_at) as first_at,
        max(submitted_at) as last_at,
        min(reason) as example_reason,
        min(session_reference_number || '/' || invoice_reference_number) as example_invoice
    from {{ ref('judged_failures') }}
    group by 1, 2, 3, 4, 5
)

select
    day,
    context_type,
    context_id,
    category,
    normalised_message,
    failed_count,
    cast(sum(failed_count) over same_day as bigint) as all_failed_count,
    {{ rate('failed_count', 'sum(failed_count) over same_day') }} as share_of_failures,
    min(first_at) over same_reason as first_seen_at,
    max(last_at) over same_reason as last_seen_at,
    example_reason,
    example_invoice
from counted
window
    same_day as (partition by day, context_type, context_id),
    same_reason as (partition by context_type, context_id, category, normalised_message)
