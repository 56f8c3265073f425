{% set number = 'context_type, context_id, ksef_number' %}

with originals as (
    select {{ json_value('status_extensions', '$.originalKsefNumber') }} as ksef_number
    from {{ ref('listed_submissions') }}
    where status_extensions is not null
),

ours as (
    select {{ number }} from {{ ref('stg_session_invoices') }}
    union all
    select {{ number }} from {{ ref('stg_upo_documents') }}
    union all
    select {{ number }} from {{ ref('stg_invoice_metadata') }} where subject_type = 'Subject1'
)

select distinct context_type, context_id, ksef_number as original_ksef_number
from ours
where ksef_number in (select ksef_number from originals)
