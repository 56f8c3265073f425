{{ config(severity='warn') }}

select
    'invoice' as what,
    status_code,
    min(status_description) as status_description,
    count(*) as row_count
from {{ ref('listed_submissions') }}
where status_code not in (select status_code from {{ ref('invoice_statuses') }})
group by 1, 2
union all
select
    session_type || ' session',
    status_code,
    min(status_description),
    count(*)
from {{ ref('stg_sessions') }} as sessions
where not {{ is_in('sessions', ref('session_statuses'), ['session_type', 'status_code']) }}
group by 1, 2
union all
select
    'export',
    status_code,
    min(status_description),
    count(*)
from {{ ref('stg_export_packages') }}
where status_code not in (select status_code from {{ ref('export_statuses') }})
group by 1, 2
