{{ config(materialized='view') }}

{% set invoice = 'context_type, context_id, ksef_number' %}
{% set columns = ['context_type', 'context_id', 'session_reference_number',
    'invoice_reference_number', 'ordinal_number', 'invoice_number', 'ksef_number', 'invoice_hash',
    'invoice_file_name', 'invoicing_mode', 'submitted_at', 'accepted_at', 'status_code',
    'status_description', 'status_details', 'status_extensions', 'unrecognised', 'read_at',
    'known_from'] %}

with sold as (
    select * from {{ ref('stg_invoice_metadata') }} where subject_type = 'Subject1'
)

select
    {%- for column in columns %}
    submissions.{{ column }},
    {%- endfor %}
    coalesce(submissions.stored_at, sold.stored_at) as stored_at,
    coalesce(receipts.issue_date, sold.issue_date) as issue_date,
    receipts.upo_reference_number is not null as has_receipt,
    sold.subject_type is not null as is_exported
from {{ ref('submissions') }} as submissions
left join {{ ref('stg_upo_documents') }} as receipts using ({{ invoice }})
left join sold using ({{ invoice }})
