{% set rules = ['invoice_hash', 'invoice_number', 'invoice_file_name'] %}

with failures as (
    select *, {{ company_nip() }} as company_nip
    from {{ ref('judged_submissions') }}
    where outcome not in ('accepted', 'pending')
),

previous as (
    select
        *,
        {%- for rule in rules %}
        lag(submitted_at) over (
            partition by company_nip, {{ rule }}
            order by submitted_at, session_reference_number, ordinal_number, context_id
        ) as previous_by_{{ rule }}{{ ',' if not loop.last }}
        {%- endfor %}
    from failures
)

select
    context_type,
    context_id,
    session_reference_number,
    invoice_reference_number
from previous
where (invoice_hash is not null and previous_by_invoice_hash is not null)
    or (invoice_number is not null and previous_by_invoice_number is not null)
    or (
        invoice_file_name is not null
        and submitted_at
            <= {{ hours_after('previous_by_invoice_file_name', 24 * var('file_name_reach_days')) }}
    )
