{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}

select
    invoices.context_type,
    invoices.context_id,
    invoices.session_reference_number,
    invoices.invoice_reference_number,
    invoices.session_type,
    invoices.ordinal_number,
    invoices.submitted_at,
    invoices.submitted_day,
    invoices.invoice_number,
    invoices.invoice_file_name,
    invoices.invoice_hash,
    invoices.status_code,
    invoices.outcome,
    messages.category,
    invoices.reason,
    messages.normalised_message,
    messages.xml_element,
    messages.xml_rule,
    categories.who_acts,
    categories.what_to_do,
    invoices.is_settled,
    invoices.outcome != 'duplicate' and earlier.invoice_reference_number is null
        as is_first_attempt,
    invoices.original_ksef_number,
    invoices.original_session_reference_number,
    invoices.is_original_ours,
    case
        when invoices.is_original_ours then 'duplicate_of_accepted'
        when resolutions.rule is not null then 'accepted_later'
        else 'unresolved'
    end as resolution,
    case when invoices.is_original_ours then 'original_ksef_number' else resolutions.rule end
        as resolution_rule,
    case
        when invoices.is_original_ours then invoices.original_ksef_number
        else resolutions.accepted_ksef_number
    end as resolved_ksef_number,
    case when not coalesce(invoices.is_original_ours, false)
        then resolutions.accepted_in_session end as resolved_in_session,
    case when not coalesce(invoices.is_original_ours, false)
        then resolutions.accepted_reference_number end as resolved_reference_number,
    case when not coalesce(invoices.is_original_ours, false)
        then {{ seconds_between('invoices.submitted_at', 'resolutions.accepted_at') }}
    end as seconds_to_resolution,
    invoices.read_at
from {{ ref('judged_submissions') }} as invoices
left join {{ ref('failure_messages') }} as messages
    on invoices.status_code = messages.status_code
    and invoices.reason is not distinct from messages.message
left join {{ ref('failure_categories') }} as categories using (category)
left join {{ ref('resolutions') }} as resolutions using ({{ key }})
left join {{ ref('earlier_failures') }} as earlier using ({{ key }})
where invoices.outcome not in ('accepted', 'pending')
