{% set month = 'context_type, context_id, subject_type, month' %}
{% set amounts = ['net_amount', 'vat_amount_pln', 'gross_amount'] %}

with summed as (
    select
        {{ month }}, currency,
        count(*) as invoice_count,
        {{ count_where('is_correction') }} as correction_count,
        {%- for amount in amounts %}
        sum({{ amount }}) as {{ amount }},
        {{ sum_where(amount, 'is_correction') }} as correction_{{ amount }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('invoice_roles') }}
    group by {{ month }}, currency
)

select
    months.month,
    months.context_type,
    months.context_id,
    {{ role_of('months.subject_type') }} as role,
    coalesce(summed.currency, 'PLN') as currency,
    coalesce(summed.invoice_count, 0) as invoice_count,
    {%- for amount in amounts %}
    {{ as_type('coalesce(summed.' ~ amount ~ ', 0)', 'decimal(38,2)') }} as {{ amount }},
    {%- endfor %}
    coalesce(summed.correction_count, 0) as correction_count,
    {%- for amount in amounts %}
    {{ as_type('coalesce(summed.correction_' ~ amount ~ ', 0)', 'decimal(38,2)') }} as correction_{{ amount }},
    {%- endfor %}
    months.completeness,
    months.doubt,
    months.missing_export_count,
    months.exported_from,
    months.exported_to
from {{ ref('judged_months') }} as months
left join summed using ({{ month }})
