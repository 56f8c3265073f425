-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(session_type as varchar) as session_type,
    cast(reference_number as varchar) as session_reference_number,
    cast(status_code as integer) as status_code,
    cast(status_description as varchar) as status_description,
    cast(status_details as varchar) as status_details,
    cast(date_created as timestamp with time zone) as created_at,
    cast(date_updated as timestamp with time zone) as updated_at,
    cast(date_updated_text as varchar) as date_updated_text,
    cast(valid_until as timestamp with time zone) as valid_until,
    cast(total_invoice_count as integer) as total_invoice_count,
    cast(successful_invoice_count as integer) as accepted_invoice_count,
    cast(failed_invoice_count as integer) as failed_invoice_count,
    cast(unrecognised as varchar) as unrecognised,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('sessions') }}
