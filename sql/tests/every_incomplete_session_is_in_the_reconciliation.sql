select sessions.*
from {{ ref('sessions') }} as sessions
left join {{ ref('session_reconciliation') }} as differences
    using (context_type, context_id, session_reference_number)
where sessions.is_complete = (differences.counter is not null)
