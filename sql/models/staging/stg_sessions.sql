-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('session_type', 'varchar') }} as session_type,
    {{ as_type('reference_number', 'varchar') }} as session_reference_number,
    {{ as_type('status_code', 'integer') }} as status_code,
    {{ as_type('status_description', 'varchar') }} as status_description,
    {{ as_type('status_details', 'varchar') }} as status_details,
    {{ as_type('date_created', 'timestamp with time zone') }} as created_at,
    {{ as_type('date_updated', 'timestamp with time zone') }} as updated_at,
    {{ as_type('date_updated_text', 'varchar') }} as date_updated_text,
    {{ as_type('valid_until', 'timestamp with time zone') }} as valid_until,
    {{ as_type('total_invoice_count', 'integer') }} as total_invoice_count,
    {{ as_type('successful_invoice_count', 'integer') }} as accepted_invoice_count,
    {{ as_type('failed_invoice_count', 'integer') }} as failed_invoice_count,
    {{ as_type('unrecognised', 'varchar') }} as unrecognised,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('sessions') }}
