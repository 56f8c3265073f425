with days as (
    select context_type, context_id, sum(submitted_count) as in_days
    from {{ ref('daily_outcomes') }}
    group by 1, 2
),

invoices as (
    select context_type, context_id, count(*) as in_invoices
    from {{ ref('invoices') }}
    group by 1, 2
)

select *
from invoices
full join days using (context_type, context_id)
where coalesce(in_invoices, 0) != coalesce(in_days, 0)
