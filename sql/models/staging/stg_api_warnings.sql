-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('run_id', 'varchar') }} as run_id,
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('api_group', 'varchar') }} as api_group,
    {{ as_type('message', 'varchar') }} as message,
    {{ as_type('answer_count', 'integer') }} as answer_count,
    {{ as_type('first_seen_at', 'timestamp with time zone') }} as first_seen_at,
    {{ as_type('last_seen_at', 'timestamp with time zone') }} as last_seen_at,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('api_warnings') }}
