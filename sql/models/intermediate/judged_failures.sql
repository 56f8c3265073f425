{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}

select
    failures.context_type,
    failures.context_id,
    failures.session_reference_number,
    failures.invoice_reference_number,
    failures.session_type,
    failures.ordinal_number,
    failures.submitted_at,
    failures.submitted_day,
    failures.is_date_out_of_bounds,
    failures.invoice_number,
    failures.invoice_file_name,
    failures.invoice_hash,
    failures.status_code,
    failures.outcome,
    messages.category,
    categories.meaning_en as category_meaning,
    failures.reason,
    messages.normalised_message,
    messages.xml_element,
    messages.xml_rule,
    categories.who_acts,
    categories.what_to_do,
    failures.is_settled,
    failures.outcome != 'duplicate' and earlier.invoice_reference_number is null
        and coalesce(resolutions.resolution, '') != 'accepted_before' as is_first_attempt,
    failures.original_ksef_number,
    failures.original_session_reference_number,
    failures.is_original_ours,
    coalesce(resolutions.resolution, 'unresolved') as resolution,
    resolutions.rule as resolution_rule,
    resolutions.confidence as resolution_confidence,
    resolutions.accepted_ksef_number as resolved_ksef_number,
    resolutions.accepted_context_type as resolved_context_type,
    resolutions.accepted_context_id as resolved_context_id,
    resolutions.accepted_in_session as resolved_in_session,
    resolutions.accepted_reference_number as resolved_reference_number,
    resolutions.seconds_to_resolution,
    failures.read_at
from {{ ref('judged_submissions') }} as failures
left join {{ ref('failure_messages') }} as messages
    on failures.status_code = messages.status_code
    and {{ same('failures.reason', 'messages.message') }}
left join {{ ref('failure_categories') }} as categories using (category)
left join {{ ref('resolutions') }} as resolutions using ({{ key }})
left join {{ ref('earlier_failures') }} as earlier using ({{ key }})
where failures.outcome not in ('accepted', 'pending')
