select failed.*
from {{ ref('failed_invoices') }} as failed
left join {{ ref('invoices') }} as accepted
    on failed.resolved_context_type = accepted.context_type
    and failed.resolved_context_id = accepted.context_id
    and failed.resolved_in_session = accepted.session_reference_number
    and failed.resolved_ksef_number = accepted.ksef_number
    and accepted.outcome = 'accepted'
left join {{ ref('stg_invoice_metadata') }} as exported
    on failed.resolved_context_type = exported.context_type
    and failed.resolved_context_id = exported.context_id
    and failed.resolved_ksef_number = exported.ksef_number
    and exported.subject_type = 'Subject1'
where
    (failed.resolution = 'unresolved') != (failed.resolved_ksef_number is null)
    or (failed.resolution = 'unresolved') != (failed.resolution_rule is null)
    or (
        failed.resolution in ('accepted_later', 'accepted_before')
        and coalesce(accepted.ksef_number, exported.ksef_number) is null
    )
    or (failed.resolution = 'accepted_later') != coalesce(
        coalesce(accepted.submitted_at, exported.submitted_at) > failed.submitted_at
        and failed.resolution != 'duplicate_of_accepted', false
    )
