{% set odd_news = ['session_date_out_of_bounds', 'invoice_date_out_of_bounds', 'negative_wait'] %}

with odd as (
    select
        context_type, context_id, kind,
        count(*) as case_count,
        sum(row_count) as row_count,
        min(session_reference_number) as example
    from {{ ref('odd_sessions') }}
    group by 1, 2, 3
    union all
    select context_type, context_id, 'package_' || kind, odd_count, odd_count, example
    from {{ ref('odd_packages') }}
)

select
    context_type,
    context_id,
    kind,
    kind not in ('{{ odd_news | join("', '") }}') as is_fault,
    cast(case_count as bigint) as case_count,
    cast(row_count as bigint) as row_count,
    example
from odd
