with failed as (
    select context_type, context_id, submitted_day, outcome, count(*) as failed_count
    from {{ ref('failed_invoices') }}
    group by all
),

invoices as (
    select context_type, context_id, submitted_day, outcome, count(*) as invoice_count
    from {{ ref('invoices') }}
    where outcome not in ('accepted', 'pending')
    group by all
)

select *
from invoices
full join failed using (context_type, context_id, submitted_day, outcome)
where invoice_count is distinct from failed_count
