with moments as (
    select max(read_at) as as_of from {{ ref('stg_sessions') }}
    union all
    select max(read_at) as as_of from {{ ref('stg_invoice_reads') }}
    union all
    select max(read_at) as as_of from {{ ref('stg_upo_reads') }}
    union all
    select max(read_at) as as_of from {{ ref('stg_export_packages') }}
    union all
    -- A load that found nothing new has asked all the same.
    select max(ended_at) as as_of
    from {{ ref('stg_sync_log') }}
    where outcome = 'ok' and part in ('sessions_online', 'sessions_batch')
),

latest as (
    select max(as_of) as as_of from moments
)

select
    as_of,
    {{ warsaw_day('as_of') }} as as_of_day
from latest
where as_of is not null
