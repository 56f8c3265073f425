{{ config(materialized='view') }}

{%- for role, subject_type in kseflow.roles().items() %}
{{ 'union all' if not loop.first }}
select
    context_type,
    context_id,
    '{{ role }}' as role,
    '{{ subject_type }}' as subject_type,
    ksef_number,
    month,
    issue_date,
    accepted_at,
    {%- if role == 'seller' %}
    buyer_identifier_type as counterparty_identifier_type,
    buyer_identifier as counterparty_identifier,
    buyer_name as counterparty_name,
    {%- else %}
    'Nip' as counterparty_identifier_type,
    seller_nip as counterparty_identifier,
    seller_name as counterparty_name,
    {%- endif %}
    currency,
    net_amount,
    vat_amount_pln,
    gross_amount,
    is_correction
from {{ ref('distinct_invoices') }}
where is_{{ role }}
{%- endfor %}
