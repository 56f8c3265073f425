-- Rows of sessions whose rows are all here, and of open ones, are in the days one by one.
with days as (
    select
        context_type, context_id,
        sum(decided_count - from_counters_count + pending_count) as in_days
    from {{ ref('daily_outcomes') }}
    group by context_type, context_id
),

sessions as (
    select
        context_type, context_id,
        sum(case
            when basis = 'rows' then stored_invoice_count
            when basis = 'open' then greatest(invoice_count, stored_invoice_count)
            when not is_failed_as_whole then pending_count
            else 0
        end) as in_sessions
    from {{ ref('sessions') }}
    group by context_type, context_id
),

unlisted as (
    select context_type, context_id, count(*) as in_no_session
    from {{ ref('invoices') }}
    where session_type = 'Unknown'
    group by context_type, context_id
)

select *
from days
full join sessions using (context_type, context_id)
full join unlisted using (context_type, context_id)
where coalesce(in_days, 0) != coalesce(in_sessions, 0) + coalesce(in_no_session, 0)
