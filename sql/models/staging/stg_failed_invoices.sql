-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(session_reference_number as varchar) as session_reference_number,
    cast(reference_number as varchar) as invoice_reference_number,
    cast(ordinal_number as integer) as ordinal_number,
    cast(invoice_number as varchar) as invoice_number,
    cast(ksef_number as varchar) as ksef_number,
    cast(invoice_hash as varchar) as invoice_hash,
    cast(invoice_file_name as varchar) as invoice_file_name,
    cast(invoicing_mode as varchar) as invoicing_mode,
    cast(invoicing_date as timestamp with time zone) as submitted_at,
    cast(acquisition_date as timestamp with time zone) as accepted_at,
    cast(permanent_storage_date as timestamp with time zone) as stored_at,
    cast(status_code as integer) as status_code,
    cast(status_description as varchar) as status_description,
    cast(status_details as varchar) as status_details,
    cast(status_extensions as varchar) as status_extensions,
    cast(unrecognised as varchar) as unrecognised,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('failed_invoices') }}
