select
    context_type,
    context_id,
    api_group,
    message,
    min(first_seen_at) as first_seen_at,
    max(last_seen_at) as last_seen_at,
    cast(sum(answer_count) as bigint) as answer_count,
    count(distinct run_id) as load_count
from {{ ref('stg_api_warnings') }}
group by 1, 2, 3, 4
