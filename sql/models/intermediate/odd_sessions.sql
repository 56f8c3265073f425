{% set session = 'context_type, context_id, session_reference_number' %}

with sessions as (
    select * from {{ ref('compared_sessions') }}
),

submissions as (
    select * from {{ ref('judged_submissions') }}
),

odd as (
    select {{ session }}, 'session_date_out_of_bounds' as kind, 1 as row_count
    from sessions
    where is_date_out_of_bounds
    union all
    select {{ session }}, 'invoice_date_out_of_bounds' as kind, count(*) as row_count
    from submissions
    where is_date_out_of_bounds
    group by {{ session }}
    union all
    select {{ session }}, 'negative_wait' as kind, count(*) as row_count
    from submissions
    where has_negative_wait
    group by {{ session }}
    union all
    select {{ session }}, 'rows_lost' as kind, row_count - stored_invoice_count as row_count
    from sessions
    inner join {{ ref('stg_invoice_reads') }} as reads using ({{ session }})
    where reads.row_count > stored_invoice_count
    union all
    -- A session belongs to one taxpayer, and its rows to the same.
    select {{ session }}, 'moved_between_taxpayers' as kind, count(*) as row_count
    from submissions
    where session_type = 'Unknown'
        and session_reference_number in (select session_reference_number from sessions)
    group by {{ session }}
    union all
    select {{ session }}, 'moved_between_taxpayers' as kind, 1 as row_count
    from sessions
    where session_reference_number in (
        select session_reference_number from sessions group by 1 having count(*) > 1
    )
)

select {{ session }}, kind, sum(row_count) as row_count
from odd
group by {{ session }}, kind
