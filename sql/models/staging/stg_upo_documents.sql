-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(ksef_number as varchar) as ksef_number,
    cast(session_reference_number as varchar) as session_reference_number,
    cast(upo_reference_number as varchar) as upo_reference_number,
    cast(seller_nip as varchar) as seller_nip,
    cast(invoice_number as varchar) as invoice_number,
    cast(issue_date as date) as issue_date,
    cast(sent_date as timestamp with time zone) as submitted_at,
    cast(acquisition_date as timestamp with time zone) as accepted_at,
    cast(invoice_hash as varchar) as invoice_hash,
    cast(invoicing_mode as varchar) as invoicing_mode,
    cast(form_code as varchar) as form_code,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('upo_documents') }}
