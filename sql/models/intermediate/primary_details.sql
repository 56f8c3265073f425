{{ config(materialized='view') }}

select
    context_type,
    context_id,
    session_reference_number,
    invoice_reference_number,
    detail as reason
from {{ ref('judged_details') }}
where is_primary
