with single as (
    select
        context_type, context_id, session_reference_number, invoice_reference_number, session_type,
        'invoice' as what, cast(1 as bigint) as invoice_count,
        submitted_at, invoice_number, invoice_file_name, invoice_hash, status_code, outcome,
        category, reason, xml_element, who_acts, what_to_do, original_ksef_number
    from {{ ref('judged_failures') }}
    where resolution = 'unresolved'
),

-- Of a session that failed as a whole KSeF may have no row of a single invoice; what it counts
-- beyond the rows is one row here. One that was closed without an invoice is no failure.
whole as (
    select
        context_type, context_id, session_reference_number,
        null as invoice_reference_number, session_type,
        'session' as what,
        greatest(invoice_count - accepted_count, failed_count) - stored_failed_count
            as invoice_count,
        created_at as submitted_at,
        null as invoice_number, null as invoice_file_name, null as invoice_hash,
        status_code, 'session_failed' as outcome,
        case when unclassified_failed_count > 0 then 'not_read_yet' else 'session_failed' end
            as category,
        coalesce(reason, status_description) as reason,
        null as xml_element, who_acts, what_to_do, null as original_ksef_number
    from {{ ref('compared_sessions') }}
    where is_failed_as_whole and not is_closed_empty
        and (greatest(invoice_count - accepted_count, failed_count) > stored_failed_count
            or invoice_count + failed_count + stored_failed_count = 0)
)

select
    context_type,
    context_id,
    what,
    session_reference_number,
    invoice_reference_number,
    session_type,
    invoice_count,
    submitted_at,
    {{ seconds_between('submitted_at', 'copy.as_of') }} / 86400 as age_days,
    invoice_number,
    invoice_file_name,
    invoice_hash,
    status_code,
    outcome,
    category,
    reason,
    xml_element,
    who_acts,
    what_to_do,
    original_ksef_number
from (select * from single union all select * from whole) as failures
cross join {{ ref('copy_moment') }} as copy
order by submitted_at
