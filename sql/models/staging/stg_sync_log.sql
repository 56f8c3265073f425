-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(run_id as varchar) as run_id,
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(resource as varchar) as part,
    cast(environment as varchar) as environment,
    cast(taxpayer_name as varchar) as taxpayer_name,
    cast(started_at as timestamp with time zone) as started_at,
    cast(ended_at as timestamp with time zone) as ended_at,
    cast(modified_from as timestamp with time zone) as modified_from,
    cast(cursor_text as varchar) as cursor_text,
    cast(reaches_back_to as timestamp with time zone) as reaches_back_to,
    cast(page_count as integer) as page_count,
    cast(row_count as integer) as row_count,
    cast(changed_count as integer) as changed_count,
    cast(credential as varchar) as credential,
    cast(credential_issued_at as timestamp with time zone) as credential_issued_at,
    cast(credential_ends_at as timestamp with time zone) as credential_ends_at,
    cast(outcome as varchar) as outcome,
    cast(message as varchar) as message,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('sync_log') }}
