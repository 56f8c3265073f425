{% set stored = ['stored_invoice', 'stored_accepted', 'stored_rejected', 'stored_duplicate',
    'stored_system_error', 'stored_cancelled', 'stored_pending', 'stored_failed', 'rows_lacking'] %}

with counted as (
    select
        states.*,
        total_invoice_count as invoice_count,
        accepted_invoice_count as accepted_count,
        failed_invoice_count as failed_count,
        greatest(total_invoice_count - accepted_invoice_count - failed_invoice_count, 0)
            as pending_count,
        {%- for count in stored %}
        coalesce({{ count }}_count, 0) as {{ count }}_count,
        {%- endfor %}
        {{ json_value('status_details', '$[0]') }} as reason,
        is_terminal and outcome != 'accepted' as is_failed_as_whole,
        is_terminal and outcome = 'cancelled' and session_type = 'Online'
            and total_invoice_count + failed_invoice_count = 0 as is_closed_empty,
        -- KSeF has been asked since the session changed, and has no row.
        coalesce(readings.row_count = 0 and readings.error is null
            and readings.read_for >= states.updated_at, false) as is_read_empty,
        not is_terminal as is_open,
        copy.as_of,
        copy.as_of_day
    from {{ ref('session_states') }} as states
    left join {{ ref('copy_moment') }} as copy on 1 = 1
    left join {{ ref('stored_counts') }} using (context_type, context_id, session_reference_number)
    left join {{ ref('session_readings') }} as readings
        using (context_type, context_id, session_reference_number)
),

judged as (
    select
        *,
        stored_invoice_count = invoice_count
            and stored_accepted_count = accepted_count
            and stored_failed_count = failed_count as is_complete,
        is_failed_as_whole and (not has_invoice_rows or is_read_empty) as has_no_rows
    from counted
)

select
    *,
    case
        when not is_terminal then 'open'
        when is_complete then 'rows'
        else 'counters'
    end as basis,
    {{ bounded_day('created_at', 'as_of_day') }} as created_day,
    {{ bounded_day('updated_at', 'as_of_day') }} as updated_day,
    {{ is_out_of_bounds('created_at', 'as_of_day') }} as is_date_out_of_bounds,
    case when is_terminal and not is_complete and has_no_rows
        then greatest(failed_count - stored_failed_count, 0) else 0 end as session_failed_count,
    case when is_terminal and not is_complete and not has_no_rows
        then greatest(failed_count - stored_failed_count, 0) else 0 end as unclassified_failed_count,
    case when has_no_rows then 0 else greatest(invoice_count - stored_invoice_count, 0) end as unread_count
from judged
