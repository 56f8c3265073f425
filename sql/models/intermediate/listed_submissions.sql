{{ config(materialized='view') }}

{% set session = 'context_type, context_id, session_reference_number' %}
{% set key = session ~ ', invoice_reference_number' %}

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
),

not_failed as (
    select * from {{ ref('stg_session_invoices') }} where status_code <= 200
),

only_failures_read as (
    select {{ session }}, endpoint
    from {{ ref('stg_invoice_reads') }} as reads
    where endpoint = 'failed' and not {{ is_in('reads', 'not_failed', session.split(', ')) }}
)

select stored.*, coalesce(only_failures_read.endpoint, 'invoices') as known_from
from {{ ref('stg_session_invoices') }} as stored
left join only_failures_read using ({{ session }})
where not {{ is_in('stored', 'ahead', key.split(', ')) }}
union all
select *, 'failed' as known_from from ahead
