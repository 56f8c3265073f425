with submissions as (
    select
        *,
        {{ json_value('status_extensions', '$.originalKsefNumber') }} as original_ksef_number,
        {{ json_value('status_extensions', '$.originalSessionReferenceNumber') }}
            as original_session_reference_number
    from {{ ref('submissions') }}
),

own_originals as (
    select distinct context_type, context_id, ksef_number
    from {{ ref('stg_session_invoices') }}
    where ksef_number in (select original_ksef_number from submissions)
)

select
    submissions.context_type,
    submissions.context_id,
    submissions.session_reference_number,
    submissions.invoice_reference_number,
    coalesce(sessions.session_type, 'Unknown') as session_type,
    submissions.ordinal_number,
    submissions.submitted_at,
    {{ warsaw_day('submissions.submitted_at') }} as submitted_day,
    submissions.status_code,
    {{ outcome_of('statuses.outcome', 'submissions.status_code') }} as outcome,
    coalesce(sessions.is_terminal, false)
        and {{ outcome_of('statuses.outcome', 'submissions.status_code') }} != 'pending' as is_settled,
    case when submissions.status_code > 200 then coalesce(
        {{ json_value('submissions.status_details', '$[0]') }}, submissions.status_description
    ) end as reason,
    submissions.invoice_number,
    submissions.invoice_file_name,
    submissions.invoice_hash,
    submissions.invoicing_mode,
    submissions.ksef_number,
    submissions.accepted_at,
    submissions.stored_at,
    {{ seconds_between('submissions.submitted_at', 'submissions.accepted_at') }}
        as seconds_to_acceptance,
    {{ seconds_between('submissions.submitted_at', 'submissions.stored_at') }}
        as seconds_to_storage,
    submissions.original_ksef_number,
    submissions.original_session_reference_number,
    case when submissions.original_ksef_number is not null
        then own_originals.ksef_number is not null or originals.session_type is not null
    end as is_original_ours,
    submissions.read_at
from submissions
left join {{ ref('session_states') }} as sessions
    using (context_type, context_id, session_reference_number)
left join {{ ref('invoice_statuses') }} as statuses
    on submissions.status_code = statuses.status_code
left join own_originals
    on submissions.context_type = own_originals.context_type
    and submissions.context_id = own_originals.context_id
    and submissions.original_ksef_number = own_originals.ksef_number
left join {{ ref('session_states') }} as originals
    on submissions.context_type = originals.context_type
    and submissions.context_id = originals.context_id
    and submissions.original_session_reference_number = originals.session_reference_number
