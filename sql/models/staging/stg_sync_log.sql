-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('run_id', 'varchar') }} as run_id,
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('resource', 'varchar') }} as part,
    {{ as_type('environment', 'varchar') }} as environment,
    {{ as_type('taxpayer_name', 'varchar') }} as taxpayer_name,
    {{ as_type('started_at', 'timestamp with time zone') }} as started_at,
    {{ as_type('ended_at', 'timestamp with time zone') }} as ended_at,
    {{ as_type('modified_from', 'timestamp with time zone') }} as modified_from,
    {{ as_type('cursor_text', 'varchar') }} as cursor_text,
    {{ as_type('reaches_back_to', 'timestamp with time zone') }} as reaches_back_to,
    {{ as_type('page_count', 'integer') }} as page_count,
    {{ as_type('row_count', 'integer') }} as row_count,
    {{ as_type('changed_count', 'integer') }} as changed_count,
    {{ as_type('credential', 'varchar') }} as credential,
    {{ as_type('credential_issued_at', 'timestamp with time zone') }} as credential_issued_at,
    {{ as_type('credential_ends_at', 'timestamp with time zone') }} as credential_ends_at,
    {{ as_type('outcome', 'varchar') }} as outcome,
    {{ as_type('message', 'varchar') }} as message,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('sync_log') }}
