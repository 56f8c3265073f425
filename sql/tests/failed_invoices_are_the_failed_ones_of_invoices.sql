with failed as (
    select context_type, context_id, submitted_day, count(*) as failed_count
    from {{ ref('failed_invoices') }}
    group by 1, 2, 3
),

invoices as (
    select context_type, context_id, submitted_day, count(*) as invoice_count
    from {{ ref('invoices') }}
    where outcome not in ('accepted', 'pending')
    group by 1, 2, 3
),

reasons as (
    select context_type, context_id, day as submitted_day, sum(failed_count) as reason_count
    from {{ ref('failure_reasons') }}
    group by 1, 2, 3
)

select *
from invoices
full join failed using (context_type, context_id, submitted_day)
full join reasons using (context_type, context_id, submitted_day)
where invoice_count is distinct from failed_count or invoice_count is distinct from reason_count
