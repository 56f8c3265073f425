{% set online_has_none = "sessions.session_type is distinct from 'Online'" %}
{% set columns_to_come = {'invoice_reference_number': true, 'ordinal_number': true,
    'invoice_file_name': online_has_none, 'stored_at': true} %}

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
    submissions.issue_date,
    submissions.accepted_at,
    submissions.stored_at,
    {{ seconds_between('submissions.submitted_at', 'submissions.accepted_at') }}
        as seconds_to_acceptance,
    {{ seconds_between('submissions.submitted_at', 'submissions.stored_at') }}
        as seconds_to_storage,
    submissions.original_ksef_number,
    submissions.original_session_reference_number,
    case when submissions.original_ksef_number is not null
        then own_originals.context_id is not null or originals.session_type is not null
    end as is_original_ours,
    submissions.has_receipt,
    submissions.is_exported,
    submissions.known_from,
    case when submissions.known_from = 'upo' then nullif(concat_ws(', '
        {%- for column, is_expected in columns_to_come.items() %},
        case when submissions.{{ column }} is null and {{ is_expected }} then '{{ column }}' end
        {%- endfor %}
    ), '') end as lacks,
    submissions.read_at
from {{ ref('dated_submissions') }} as submissions
left join {{ ref('session_states') }} as sessions
    using (context_type, context_id, session_reference_number)
left join {{ ref('invoice_statuses') }} as statuses
    on submissions.status_code = statuses.status_code
left join {{ ref('own_originals') }} as own_originals
    using (context_type, context_id, original_ksef_number)
left join {{ ref('session_states') }} as originals
    on submissions.context_type = originals.context_type
    and submissions.context_id = originals.context_id
    and submissions.original_session_reference_number = originals.session_reference_number
