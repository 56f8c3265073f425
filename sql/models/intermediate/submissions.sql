{{ config(materialized='view') }}

{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}

-- The two tables are committed one after the other, so either may be ahead of the other.
with ahead as (
    select failed.*
    from {{ ref('stg_failed_invoices') }} as failed
    left join {{ ref('stg_session_invoices') }} as stored
        on failed.context_type = stored.context_type
        and failed.context_id = stored.context_id
        and failed.session_reference_number = stored.session_reference_number
        and failed.invoice_reference_number = stored.invoice_reference_number
        and stored.read_at >= failed.read_at
    where stored.invoice_reference_number is null
)

select *
from {{ ref('stg_session_invoices') }}
where ({{ key }}) not in (select ({{ key }}) from ahead)
union all
select * from ahead
