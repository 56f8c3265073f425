{% set faults = ['rows_lost', 'moved_between_taxpayers'] %}

select
    context_type,
    context_id,
    kind,
    kind in ('{{ faults | join("', '") }}') as is_fault,
    cast(count(*) as bigint) as case_count,
    cast(sum(row_count) as bigint) as row_count,
    min(session_reference_number) as example
from {{ ref('odd_sessions') }}
group by 1, 2, 3, 4
