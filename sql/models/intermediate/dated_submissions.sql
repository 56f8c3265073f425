{{ config(materialized='view') }}

{% set invoice = 'context_type, context_id, ksef_number' %}

with sold as (
    select * from {{ ref('stg_invoice_metadata') }} where subject_type = 'Subject1'
)

select
    submissions.* exclude (stored_at),
    coalesce(submissions.stored_at, sold.stored_at) as stored_at,
    coalesce(receipts.issue_date, sold.issue_date) as issue_date,
    receipts.upo_reference_number is not null as has_receipt,
    sold.subject_type is not null as is_exported
from {{ ref('submissions') }} as submissions
left join {{ ref('stg_upo_documents') }} as receipts using ({{ invoice }})
left join sold using ({{ invoice }})
