-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('session_reference_number', 'varchar') }} as session_reference_number,
    {{ as_type('reference_number', 'varchar') }} as invoice_reference_number,
    {{ as_type('ordinal_number', 'integer') }} as ordinal_number,
    {{ as_type('invoice_number', 'varchar') }} as invoice_number,
    {{ as_type('ksef_number', 'varchar') }} as ksef_number,
    {{ as_type('invoice_hash', 'varchar') }} as invoice_hash,
    {{ as_type('invoice_file_name', 'varchar') }} as invoice_file_name,
    {{ as_type('invoicing_mode', 'varchar') }} as invoicing_mode,
    {{ as_type('invoicing_date', 'timestamp with time zone') }} as submitted_at,
    {{ as_type('acquisition_date', 'timestamp with time zone') }} as accepted_at,
    {{ as_type('permanent_storage_date', 'timestamp with time zone') }} as stored_at,
    {{ as_type('status_code', 'integer') }} as status_code,
    {{ as_type('status_description', 'varchar') }} as status_description,
    {{ as_type('status_details', 'varchar') }} as status_details,
    {{ as_type('status_extensions', 'varchar') }} as status_extensions,
    {{ as_type('unrecognised', 'varchar') }} as unrecognised,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('session_invoices') }}
