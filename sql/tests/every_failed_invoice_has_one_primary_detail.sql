{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}

with primaries as (
    select {{ key }}, count(*) filter (where is_primary) as primary_count
    from {{ ref('failure_details') }}
    group by all
)

select {{ key }}, primary_count
from {{ ref('failed_invoices') }}
full join primaries using ({{ key }})
where primary_count is distinct from 1 or outcome is null
