{% set session = 'context_type, context_id, session_reference_number' %}
{% set key = session ~ ', invoice_reference_number' %}

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
    from {{ ref('stg_upo_documents') }}
    anti join {{ ref('listed_submissions') }} using ({{ session }}, ksef_number)
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
        200 as status_code,
        receipts.read_at,
        'upo' as known_from
    from unlisted_receipts as receipts
    left join in_process
        using ({{ session }}, invoice_hash, copy)
)

select *
from {{ ref('listed_submissions') }}
anti join known_from_receipts using ({{ key }})
union all by name
select * from known_from_receipts
