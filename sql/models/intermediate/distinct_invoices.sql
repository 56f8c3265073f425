{% set invoice = 'context_type, context_id, ksef_number' %}
{% set names = [] %}
{%- for subject_type in kseflow.roles().values() %}
    {%- do names.append("max(case when subject_type = '" ~ subject_type ~ "' then subject_type end)") %}
{%- endfor %}

-- Most numbers are in one row; grouping by a hash first finds the others without their texts.
with exported as (
    select *, {{ hash_of(['ksef_number']) }} as number_hash from {{ ref('stg_invoice_metadata') }}
),

repeated as (
    select number_hash from exported group by 1 having count(*) > 1
),

-- KSeF tells the same of an invoice whatever it is exported as; if not, see odd_packages.
parts as (
    select
        {{ invoice }},
        {%- for role, subject_type in kseflow.roles().items() %}
        {{ any_where("subject_type = '" ~ subject_type ~ "'") }} as is_{{ role }},
        {%- endfor %}
        {{ listed(names) }} as subject_types,
        min(subject_type) as first_subject_type,
        row_number() over (
            partition by ksef_number order by min(subject_type), context_type desc, context_id
        ) = 1 as counts_once
    from exported
    where number_hash in (select number_hash from repeated)
    group by {{ invoice }}
)

select
    {{ invoice }},
    {%- for role, subject_type in kseflow.roles().items() %}
    coalesce(is_{{ role }}, subject_type = '{{ subject_type }}') as is_{{ role }},
    {%- endfor %}
    coalesce(subject_types, subject_type) as subject_types,
    coalesce(counts_once, true) as counts_once,
    invoice_number,
    issue_date,
    {{ month_of('issue_date') }} as month,
    submitted_at, accepted_at, stored_at,
    seller_nip, seller_name, buyer_identifier_type, buyer_identifier, buyer_name,
    coalesce(currency, 'XXX') as currency,
    net_amount,
    vat_amount as vat_amount_pln,
    gross_amount,
    invoice_type,
    invoice_type like 'Kor%' as is_correction,
    invoicing_mode, is_self_invoicing, has_attachment, form_system_code,
    invoice_hash, hash_of_corrected_invoice,
    read_at
from exported
left join parts using ({{ invoice }})
where subject_type = coalesce(first_subject_type, subject_type)
