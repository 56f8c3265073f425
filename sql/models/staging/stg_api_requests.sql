-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(run_id as varchar) as run_id,
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(api_group as varchar) as api_group,
    cast(request_count as integer) as request_count,
    cast(throttled_count as integer) as throttled_count,
    cast(retry_count as integer) as retry_count,
    cast(waited_s as double) as waited_s,
    cast(received_bytes as bigint) as received_bytes,
    cast(hourly_limit as integer) as hourly_limit,
    cast(requested_at as varchar) as requested_at,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('api_requests') }}
