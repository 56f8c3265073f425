{% set covered = microseconds_between('requested_from', 'next_from') %}
{% set end = 'case when requested_to is null then hwm_at else requested_at end' %}
{% set ahead = microseconds_between('next_from', end) %}

with told as (
    select
        packages.*,
        statuses.meaning_en as meaning,
        case
            when statuses.outcome = 'complete' and error is not null
                then 'Read the error; the next load asks for this window again.'
            else coalesce(statuses.what_to_do, 'Read the status: kseflow does not know this code.')
        end as what_to_do,
        case when statuses.outcome = 'complete' and error is not null then 'administrator'
            else coalesce(statuses.who_acts, 'administrator') end as who_acts,
        coalesce(statuses.outcome, case when status_code < 200 then 'pending' else 'failed' end)
            as outcome
    from {{ ref('stg_export_packages') }} as packages
    left join {{ ref('export_statuses') }} as statuses using (status_code)
)

select
    context_type, context_id, subject_type, package_reference_number,
    {{ warsaw_day('coalesce(completed_at, requested_at)') }} as day,
    requested_at, completed_at, expires_at,
    {{ seconds_between('requested_at', 'completed_at') }} as seconds_to_completion,
    status_code, status_description, meaning,
    {{ json_value('status_details', '$[0]') }} as reason,
    case
        when outcome = 'pending' and error is not null then 'stuck'
        when outcome != 'complete' then outcome
        when metadata_count is null then 'failed'
        when is_effectively_truncated then 'truncated'
        when metadata_count = 0 then 'empty'
        else 'complete'
    end as outcome,
    outcome = 'complete' as is_built,
    who_acts, what_to_do, error,
    requested_from, requested_from_text, requested_to,
    {{ seconds_between('requested_from', 'coalesce(requested_to, requested_at)') }}
        as window_seconds,
    next_from, next_from_text, cursor_moved,
    {{ seconds_between('requested_from', 'next_from') }} as covered_seconds,
    hwm_at, hwm_text,
    {{ seconds_between('hwm_at', 'completed_at') }} as hwm_lag_seconds,
    is_metadata_only, invoice_count, metadata_count, size_bytes, part_count, compression_type,
    {{ rate('invoice_count', var('package_cap_invoices')) }} as count_cap_share,
    {{ rate('size_bytes', var('package_cap_bytes')) }} as size_cap_share,
    is_truncated, is_effectively_truncated, last_issue_date, last_submitted_at, last_stored_at,
    case
        when not is_effectively_truncated and requested_to is null then 0
        when cursor_moved then cast({{ greatest_of(['ceil(' ~ rate(ahead, covered) ~ ')', 1]) }} as integer)
    end as exports_to_catch_up,
    read_at
from told
