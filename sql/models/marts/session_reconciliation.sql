with differences as (
    {%- for counter in ['invoice', 'accepted', 'failed'] %}
    {{ 'union all' if not loop.first }}
    select
        sessions.*,
        '{{ "total" if counter == "invoice" else counter }}' as counter,
        {{ counter }}_count as counted,
        stored_{{ counter }}_count as stored
    from {{ ref('compared_sessions') }} as sessions
    where {{ counter }}_count != stored_{{ counter }}_count
    {%- endfor %}
)

select
    differences.context_type,
    differences.context_id,
    differences.session_reference_number,
    differences.counter,
    differences.session_type,
    differences.status_code,
    differences.outcome as session_outcome,
    differences.counted as counted_count,
    differences.stored as stored_count,
    differences.counted - differences.stored as difference_count,
    case
        when readings.error is not null then 'reading_failed'
        when stored > counted then 'counter_lags'
        when is_open and counter != 'failed' and coalesce(readings.endpoint, 'failed') = 'failed'
            then 'session_open'
        when readings.read_at is null then 'not_read_yet'
        when read_for < updated_at then 'changed_since_read'
        when row_count > stored_invoice_count or receipt_count > stored_accepted_count
            then 'rows_lost'
        when row_count = 0 and is_failed_as_whole then 'session_failed_as_whole'
        when endpoint = 'failed' and receipt_count is null and counter != 'failed'
            then 'only_failures_read'
        when counter != 'total' and stored_invoice_count = invoice_count then 'outcome_unsettled'
        else 'list_lags'
    end as likely_cause,
    readings.error as reading_error,
    differences.updated_at,
    readings.read_at as last_read_at
from differences
left join {{ ref('session_readings') }} as readings
    using (context_type, context_id, session_reference_number)

union all

select
    context_type,
    context_id,
    session_reference_number,
    'total' as counter, 'Unknown' as session_type, null as status_code, null as session_outcome,
    null as counted_count, stored_invoice_count as stored_count, null as difference_count,
    'session_not_listed' as likely_cause, null as reading_error, null as updated_at,
    null as last_read_at
from {{ ref('stored_counts') }} as stored
where not {{ is_in('stored', ref('stg_sessions'),
    ['context_type', 'context_id', 'session_reference_number']) }}
