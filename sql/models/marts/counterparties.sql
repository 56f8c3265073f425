{% set amounts = ['net_amount', 'vat_amount_pln', 'gross_amount'] %}
{% set of_invoice = ['accepted_at', 'ksef_number'] %}

with traded as (
    select
        *,
        -- Somebody without an identifier is known by name alone.
        case when counterparty_identifier is null then counterparty_name end as only_name
    from {{ ref('invoice_roles') }}
)

select
    context_type,
    context_id,
    role,
    counterparty_identifier_type,
    counterparty_identifier,
    {{ latest_of('counterparty_name', of_invoice) }} as counterparty_name,
    count(distinct counterparty_name) as name_count,
    currency,
    count(*) as invoice_count,
    {{ count_where('is_correction') }} as correction_count,
    {%- for amount in amounts %}
    {{ as_type('coalesce(sum(' ~ amount ~ '), 0)', 'decimal(38,2)') }} as {{ amount }},
    {%- endfor %}
    min(issue_date) as first_issue_date,
    max(issue_date) as last_issue_date,
    {{ latest_of('ksef_number', of_invoice) }} as last_ksef_number
from traded
group by context_type, context_id, role, counterparty_identifier_type, counterparty_identifier,
    only_name, currency
