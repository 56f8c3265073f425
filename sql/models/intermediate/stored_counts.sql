select
    context_type,
    context_id,
    session_reference_number,
    count(*) as stored_count,
    count(*) filter (where outcome = 'accepted') as stored_accepted_count,
    count(*) filter (where outcome not in ('accepted', 'pending')) as stored_failed_count,
    count(lacks) as rows_lacking_count
from {{ ref('judged_submissions') }}
group by 1, 2, 3
