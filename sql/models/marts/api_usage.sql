with runs as (
    select run_id, context_type, context_id, min(started_at) as started_at
    from {{ ref('stg_sync_log') }}
    group by 1, 2, 3
)

select
    requests.run_id,
    requests.context_type,
    requests.context_id,
    requests.api_group,
    coalesce(runs.started_at, requests.read_at) as started_at,
    requests.request_count,
    requests.throttled_count,
    requests.retry_count,
    requests.waited_s,
    requests.received_bytes,
    nullif(requests.hourly_limit, -1) as hourly_limit,
    {{ json_length('requests.requested_at') }} as last_hour_request_count,
    {{ rate(json_length('requests.requested_at'), 'nullif(requests.hourly_limit, -1)') }}
        as share_of_hourly_limit
from {{ ref('stg_api_requests') }} as requests
left join runs using (run_id, context_type, context_id)
