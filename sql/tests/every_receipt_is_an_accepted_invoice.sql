select receipts.*
from {{ ref('stg_upo_documents') }} as receipts
left join {{ ref('invoices') }} as invoices
    using (context_type, context_id, session_reference_number, ksef_number)
where not coalesce(invoices.outcome = 'accepted' and invoices.has_receipt, false)
