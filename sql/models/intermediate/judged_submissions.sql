{% set online_has_none = "coalesce(sessions.session_type, '') != 'Online'" %}
{% set columns_to_come = {'invoice_reference_number': true, 'ordinal_number': true,
    'invoice_file_name': online_has_none, 'stored_at': true} %}
{% set lacking = [] %}
{%- for column, is_expected in columns_to_come.items() %}
    {%- do lacking.append('case when submissions.' ~ column ~ ' is null and ' ~ is_expected
        ~ " then '" ~ column ~ "' end") %}
{%- endfor %}

select
    submissions.context_type,
    submissions.context_id,
    submissions.session_reference_number,
    submissions.invoice_reference_number,
    coalesce(sessions.session_type, 'Unknown') as session_type,
    submissions.ordinal_number,
    submissions.submitted_at,
    {{ bounded_day('submissions.submitted_at', 'copy.as_of_day') }} as submitted_day,
    {{ is_out_of_bounds('submissions.submitted_at', 'copy.as_of_day') }} as is_date_out_of_bounds,
    submissions.status_code,
    {{ outcome_of('statuses.outcome', 'submissions.status_code') }} as outcome,
    coalesce(sessions.is_terminal, false)
        and {{ outcome_of('statuses.outcome', 'submissions.status_code') }} != 'pending' as is_settled,
    details.reason,
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
    coalesce(submissions.accepted_at < submissions.submitted_at, false)
        or coalesce(submissions.stored_at < submissions.submitted_at, false) as has_negative_wait,
    originals.ksef_number as original_ksef_number,
    originals.original_session_reference_number,
    originals.is_ours as is_original_ours,
    submissions.has_receipt,
    submissions.is_exported,
    submissions.known_from,
    case when submissions.known_from = 'upo' then {{ listed(lacking) }} end as lacks,
    submissions.read_at
from {{ ref('dated_submissions') }} as submissions
left join {{ ref('session_states') }} as sessions
    using (context_type, context_id, session_reference_number)
left join {{ ref('invoice_statuses') }} as statuses
    on submissions.status_code = statuses.status_code
left join {{ ref('primary_details') }} as details
    using (context_type, context_id, session_reference_number, invoice_reference_number)
left join {{ ref('originals') }} as originals
    using (context_type, context_id, session_reference_number, invoice_reference_number)
left join {{ ref('copy_moment') }} as copy on 1 = 1
