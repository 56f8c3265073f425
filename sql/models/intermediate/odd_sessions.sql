{% set session = 'context_type, context_id, session_reference_number' %}

with sessions as (
    select * from {{ ref('compared_sessions') }}
),

submissions as (
    select * from {{ ref('judged_submissions') }}
),

odd as (
    select {{ session }}, 'session_date_out_of_bounds' as kind
    from sessions
    where is_date_out_of_bounds
    union all by name
    select {{ session }}, 'invoice_date_out_of_bounds' as kind, count(*) as row_count
    from submissions
    where is_date_out_of_bounds
    group by all
    union all by name
    select {{ session }}, 'negative_wait' as kind, count(*) as row_count
    from submissions
    where has_negative_wait
    group by all
    union all by name
    select {{ session }}, 'rows_lost' as kind, row_count - stored_invoice_count as row_count
    from sessions
    inner join {{ ref('stg_invoice_reads') }} as reads using ({{ session }})
    where reads.row_count > stored_invoice_count
    union all by name
    -- A session belongs to one taxpayer, and its rows to the same.
    select {{ session }}, 'moved_between_taxpayers' as kind, count(*) as row_count
    from submissions
    where session_type = 'Unknown'
        and session_reference_number in (select session_reference_number from sessions)
    group by all
    union all by name
    select {{ session }}, 'moved_between_taxpayers' as kind
    from sessions
    qualify count(*) over (partition by session_reference_number) > 1
)

select {{ session }}, kind, sum(coalesce(row_count, 1)) as row_count
from odd
group by all
