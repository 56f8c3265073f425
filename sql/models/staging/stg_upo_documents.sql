-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('ksef_number', 'varchar') }} as ksef_number,
    {{ as_type('session_reference_number', 'varchar') }} as session_reference_number,
    {{ as_type('upo_reference_number', 'varchar') }} as upo_reference_number,
    {{ as_type('seller_nip', 'varchar') }} as seller_nip,
    {{ as_type('invoice_number', 'varchar') }} as invoice_number,
    {{ as_type('issue_date', 'date') }} as issue_date,
    {{ as_type('sent_date', 'timestamp with time zone') }} as submitted_at,
    {{ as_type('acquisition_date', 'timestamp with time zone') }} as accepted_at,
    {{ as_type('invoice_hash', 'varchar') }} as invoice_hash,
    {{ as_type('invoicing_mode', 'varchar') }} as invoicing_mode,
    {{ as_type('form_code', 'varchar') }} as form_code,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('upo_documents') }}
