with raw_rows as (
    select context_type, context_id, status_code, count(*) as raw_count
    from {{ ref('submissions') }}
    group by 1, 2, 3
),

invoices as (
    select context_type, context_id, status_code, count(*) as invoice_count
    from {{ ref('invoices') }}
    group by 1, 2, 3
),

sessions as (
    select
        (select count(*) from {{ ref('stg_sessions') }}) as raw_count,
        (select count(*) from {{ ref('sessions') }}) as session_count
)

select *
from raw_rows
full join invoices using (context_type, context_id, status_code)
where coalesce(raw_count, 0) != coalesce(invoice_count, 0)
union all
select 'sessions', null, null, raw_count, session_count
from sessions
where raw_count != session_count
