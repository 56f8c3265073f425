{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}

with primaries as (
    select {{ key }}, {{ count_where('is_primary') }} as primary_count
    from {{ ref('failure_details') }}
    group by {{ key }}
)

select {{ key }}, primary_count
from {{ ref('failed_invoices') }}
full join primaries using ({{ key }})
where coalesce(primary_count, 0) != 1 or outcome is null
