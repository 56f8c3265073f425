-- Written by `make generate` from kseflow/raw/tables.py: change that.
select
    cast(context_type as varchar) as context_type,
    cast(context_id as varchar) as context_id,
    cast(session_reference_number as varchar) as session_reference_number,
    cast(endpoint as varchar) as endpoint,
    cast(session_date_updated as timestamp with time zone) as session_date_updated,
    cast(row_count as integer) as row_count,
    cast(error as varchar) as error,
    cast(read_at as timestamp with time zone) as read_at
from {{ raw('invoice_reads') }}
