-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    {{ as_type('context_type', 'varchar') }} as context_type,
    {{ as_type('context_id', 'varchar') }} as context_id,
    {{ as_type('session_reference_number', 'varchar') }} as session_reference_number,
    {{ as_type('session_date_updated', 'timestamp with time zone') }} as session_date_updated,
    {{ as_type('page_count', 'integer') }} as page_count,
    {{ as_type('row_count', 'integer') }} as row_count,
    {{ as_type('error', 'varchar') }} as error,
    {{ as_type('read_at', 'timestamp with time zone') }} as read_at
from {{ raw('upo_reads') }}
