{% set session = 'context_type, context_id, session_reference_number' %}
{% set taken = ['status_extensions', 'status_details'] %}

with duplicates as (
    select
        {{ session }},
        invoice_reference_number,
        {{ company_nip() }} as company_nip,
        {{ original_ksef_number(*taken) }} as ksef_number,
        {{ original_session(*taken) }} as original_session_reference_number
    from {{ ref('listed_submissions') }}
    inner join {{ ref('invoice_statuses') }} using (status_code)
    where outcome = 'duplicate'
),

accepted_numbers as (
    select distinct company_nip, ksef_number
    from (
        {%- for table in ['stg_session_invoices', 'stg_upo_documents', 'stg_invoice_metadata'] %}
        {{ 'union all' if not loop.first }}
        select {{ company_nip() }} as company_nip, ksef_number
        from {{ ref(table) }}
        where ksef_number in (select ksef_number from duplicates)
            {{- " and subject_type = 'Subject1'" if table == 'stg_invoice_metadata' }}
        {%- endfor %}
    ) as told_anywhere
),

sessions as (
    select distinct
        {{ company_nip() }} as company_nip,
        session_reference_number as original_session_reference_number
    from {{ ref('stg_sessions') }}
)

select
    {{ session }},
    invoice_reference_number,
    ksef_number,
    original_session_reference_number,
    numbers.company_nip is not null or sessions.company_nip is not null as is_ours
from duplicates
left join accepted_numbers as numbers using (company_nip, ksef_number)
left join sessions using (company_nip, original_session_reference_number)
where ksef_number is not null
