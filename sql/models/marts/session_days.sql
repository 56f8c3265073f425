select
    context_type,
    context_id,
    session_type,
    session_reference_number,
    day,
    basis,
    accepted_count,
    failed_count,
    accepted_count + failed_count as decided_count,
    from_counters_count,
    undated_count,
    pending_count,
    unaccounted_count
from {{ ref('decided_days') }}
