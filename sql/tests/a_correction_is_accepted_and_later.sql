select failed.*
from {{ ref('failed_invoices') }} as failed
left join {{ ref('invoices') }} as later
    on failed.context_type = later.context_type
    and failed.context_id = later.context_id
    and failed.resolved_in_session = later.session_reference_number
    and failed.resolved_ksef_number = later.ksef_number
    and failed.submitted_at < later.submitted_at
    and later.outcome = 'accepted'
where failed.resolution = 'accepted_later' and later.ksef_number is null
