-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(run_id as varchar) as run_id,
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(api_group as varchar) as api_group,
    cast(message as varchar) as message,
    cast(answer_count as integer) as answer_count,
    cast(first_seen_at as timestamp with time zone) as first_seen_at,
    cast(last_seen_at as timestamp with time zone) as last_seen_at,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('api_warnings') }}
