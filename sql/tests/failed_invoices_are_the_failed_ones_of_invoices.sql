with failed as (
    select context_type, context_id, submitted_day, outcome, count(*) as failed_count
    from {{ ref('failed_invoices') }}
    group by context_type, context_id, submitted_day, outcome
),

invoices as (
    select context_type, context_id, submitted_day, outcome, count(*) as invoice_count
    from {{ ref('invoices') }}
    where outcome not in ('accepted', 'pending')
    group by context_type, context_id, submitted_day, outcome
)

select *
from invoices
full join failed using (context_type, context_id, submitted_day, outcome)
where {{ differ('invoice_count', 'failed_count') }}
