select
    failed.context_type,
    failed.context_id,
    failed.session_reference_number,
    failed.invoice_reference_number,
    failed.submitted_at,
    {{ seconds_between('failed.submitted_at', 'as_of.as_of') }} / 86400 as age_days,
    failed.invoice_number,
    failed.invoice_file_name,
    failed.invoice_hash,
    failed.status_code,
    failed.outcome,
    failed.category,
    failed.reason,
    failed.xml_element,
    failed.who_acts,
    failed.what_to_do,
    failed.original_ksef_number
from {{ ref('judged_failures') }} as failed
cross join {{ ref('copy_moment') }} as as_of
where failed.resolution = 'unresolved'
order by failed.submitted_at
