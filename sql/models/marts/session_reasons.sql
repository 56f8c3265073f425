select
    context_type,
    context_id,
    session_type,
    session_reference_number,
    day,
    category,
    category_meaning,
    normalised_message,
    who_acts,
    what_to_do,
    failed_count,
    open_failed_count,
    example_reason,
    example_invoice
from {{ ref('counted_reasons') }}
