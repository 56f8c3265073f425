-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('run_id', 'varchar') }} as run_id,
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('api_group', 'varchar') }} as api_group,
    {{ as_type('request_count', 'integer') }} as request_count,
    {{ as_type('throttled_count', 'integer') }} as throttled_count,
    {{ as_type('retry_count', 'integer') }} as retry_count,
    {{ as_type('waited_s', 'double') }} as waited_s,
    {{ as_type('received_bytes', 'bigint') }} as received_bytes,
    {{ as_type('hourly_limit', 'integer') }} as hourly_limit,
    {{ as_type('requested_at', 'varchar') }} as requested_at,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('api_requests') }}
