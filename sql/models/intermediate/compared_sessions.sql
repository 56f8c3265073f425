with states as (
    select
        states.*,
        as_of.as_of,
        coalesce(stored.stored_count, 0) as stored_invoice_count,
        coalesce(stored.stored_accepted_count, 0) as stored_accepted_count,
        coalesce(stored.stored_failed_count, 0) as stored_failed_count,
        coalesce(stored.rows_lacking_count, 0) as rows_lacking_count
    from {{ ref('session_states') }} as states
    cross join {{ ref('copy_moment') }} as as_of
    left join {{ ref('stored_counts') }} as stored
        using (context_type, context_id, session_reference_number)
)

select
    context_type,
    context_id,
    session_reference_number,
    session_type,
    created_at,
    {{ warsaw_day('created_at') }} as created_day,
    updated_at,
    valid_until,
    status_code,
    status_description,
    meaning,
    {{ json_value('status_details', '$[0]') }} as reason,
    outcome,
    who_acts,
    what_to_do,
    total_invoice_count as invoice_count,
    accepted_invoice_count as accepted_count,
    failed_invoice_count as failed_count,
    greatest(total_invoice_count - accepted_invoice_count - failed_invoice_count, 0)
        as pending_count,
    {{ rate('accepted_invoice_count', '(accepted_invoice_count + failed_invoice_count)') }}
        as success_rate,
    {{ rate('failed_invoice_count', '(accepted_invoice_count + failed_invoice_count)') }}
        as failure_rate,
    not is_terminal as is_open,
    not is_terminal and (
        as_of > valid_until + interval '{{ var("late_close_hours") }} hours'
        or status_code > 100 and as_of > updated_at + interval '{{ var("stuck_hours") }} hours'
    ) as is_stuck,
    is_terminal and outcome != 'accepted' as is_failed_as_whole,
    case when is_terminal then {{ seconds_between('created_at', 'updated_at') }} end as duration_s,
    {{ seconds_between('created_at', 'as_of') }} as age_s,
    stored_invoice_count,
    stored_accepted_count,
    stored_failed_count,
    stored_invoice_count = total_invoice_count
        and stored_accepted_count = accepted_invoice_count
        and stored_failed_count = failed_invoice_count as is_complete,
    rows_lacking_count,
    read_at
from states
