with sessions as (
    select
        *,
        case when not is_terminal then {{ least_of([
            hours_after('valid_until', var('late_close_hours')),
            'case when status_code > 100 then ' ~ hours_after('updated_at', var('stuck_hours')) ~ ' end',
        ]) }} end as stuck_at
    from {{ ref('compared_sessions') }}
)

select
    context_type,
    context_id,
    session_reference_number,
    session_type,
    created_at,
    created_day,
    is_date_out_of_bounds,
    updated_at,
    valid_until,
    status_code,
    status_description,
    meaning,
    reason,
    outcome,
    who_acts,
    what_to_do,
    invoice_count,
    accepted_count,
    failed_count,
    pending_count,
    {{ rate('accepted_count', '(accepted_count + failed_count)') }} as success_rate,
    {{ rate('failed_count', '(accepted_count + failed_count)') }} as failure_rate,
    is_open,
    stuck_at,
    coalesce(as_of > stuck_at, false) as is_stuck,
    is_failed_as_whole,
    is_closed_empty,
    case when is_terminal then {{ seconds_between('created_at', 'updated_at') }} end as duration_s,
    {{ seconds_between('created_at', 'as_of') }} as age_s,
    stored_invoice_count,
    stored_accepted_count,
    stored_failed_count,
    is_complete,
    basis,
    unread_count,
    session_failed_count,
    unclassified_failed_count,
    rows_lacking_count,
    read_at
from sessions
