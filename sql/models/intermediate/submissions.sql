{% set session = 'context_type, context_id, session_reference_number' %}
{% set key = session ~ ', invoice_reference_number' %}
{% set untold = ['status_description', 'status_details', 'status_extensions', 'unrecognised'] %}

-- KSeF accepts one of several equal files in a session, the first.
with in_process as (
    select
        *,
        row_number() over (partition by {{ session }}, invoice_hash order by ordinal_number) as copy
    from {{ ref('listed_submissions') }}
    where status_code < 200
),

unlisted_receipts as (
    select
        *,
        row_number() over (partition by {{ session }}, invoice_hash order by accepted_at) as copy
    from {{ ref('stg_upo_documents') }} as receipts
    where not {{ is_in('receipts', ref('listed_submissions'), (session ~ ', ksef_number').split(', ')) }}
),

known_from_receipts as (
    select
        {{ session }},
        in_process.invoice_reference_number,
        in_process.ordinal_number,
        receipts.invoice_number,
        receipts.ksef_number,
        invoice_hash,
        in_process.invoice_file_name,
        receipts.invoicing_mode,
        coalesce(in_process.submitted_at, receipts.submitted_at) as submitted_at,
        receipts.accepted_at,
        {{ as_type('null', 'timestamp with time zone') }} as stored_at,
        200 as status_code,
        {%- for column in untold %}
        {{ as_type('null', 'varchar') }} as {{ column }},
        {%- endfor %}
        receipts.read_at,
        'upo' as known_from
    from unlisted_receipts as receipts
    left join in_process
        using ({{ session }}, invoice_hash, copy)
)

{%- set columns %}
    {{ key }}, ordinal_number, invoice_number, ksef_number, invoice_hash, invoice_file_name,
    invoicing_mode, submitted_at, accepted_at, stored_at, status_code, {{ untold | join(', ') }},
    read_at, known_from
{%- endset %}

select {{ columns }}
from {{ ref('listed_submissions') }} as listed
where not {{ is_in('listed', 'known_from_receipts', key.split(', ')) }}
union all
select {{ columns }} from known_from_receipts
