{{ config(materialized='view') }}

{% set columns = ['context_type', 'context_id', 'session_reference_number',
    'invoice_reference_number', 'ksef_number', 'invoice_hash', 'invoice_number',
    'invoice_file_name', 'submitted_at', 'accepted_at'] %}
{% set of_session = ['session_reference_number', 'invoice_reference_number', 'invoice_file_name'] %}

with sold as (
    select * from {{ ref('stg_invoice_metadata') }} where subject_type = 'Subject1'
),

sent as (
    select {{ columns | join(', ') }}
    from {{ ref('judged_submissions') }}
    where outcome = 'accepted'
),

-- An invoice that a unit sent may be exported to the company alone.
corrections as (
    select ksef_number, max(hash_of_corrected_invoice) as hash_of_corrected_invoice
    from sold
    where hash_of_corrected_invoice is not null
    group by 1
),

-- Sent by another program of the company, or not read yet: the export knows it all the same.
only_exported as (
    select * from sold where not {{ is_in('sold', 'sent', ['ksef_number']) }}
),

contents as (
    select * from sent
    union all
    select {{ filled(columns, of_session, as_type('null', 'varchar')) }}
    from only_exported
)

select
    contents.*,
    {{ company_nip('contents.context_id') }} as company_nip,
    {{ seller_of('contents.ksef_number') }} as seller_nip,
    {{ as_file_name('contents.invoice_number') }} as number_as_file_name,
    corrections.hash_of_corrected_invoice
from contents
left join corrections using (ksef_number)
