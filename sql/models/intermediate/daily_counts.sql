{% set grain = 'context_type, context_id, session_type, day' %}
{% set session = 'context_type, context_id, session_reference_number' %}
{% set of_sessions = ['accepted_count', 'failed_count', 'rejected_count', 'duplicate_count',
    'system_error_count', 'cancelled_count', 'session_failed_count', 'unclassified_failed_count',
    'uncounted_failed_count', 'unaccounted_count', 'undated_count', 'from_counters_count',
    'accepted_in_rows_count'] %}
{% set of_rows = ['corrected_count', 'failed_first_count'] %}
{% set counts = of_sessions + of_rows + ['pending_count', 'unread_count'] %}

with corrections as (
    select distinct
        resolved_context_type as context_type,
        resolved_context_id as context_id,
        resolved_in_session as session_reference_number,
        resolved_ksef_number as ksef_number
    from {{ ref('judged_failures') }}
    where resolution = 'accepted_later' and outcome != 'duplicate'
),

rows_of_day as (
    select
        {{ session }},
        submissions.session_type,
        submissions.submitted_day as day,
        case when coalesce(sessions.basis, 'open') = 'open' then 1 end as pending_count,
        case when sessions.basis = 'rows' and corrections.ksef_number is not null then 1 end
            as corrected_count,
        case when sessions.basis = 'rows' and failures.is_first_attempt then 1 end
            as failed_first_count
    from {{ ref('judged_submissions') }} as submissions
    left join {{ ref('compared_sessions') }} as sessions using ({{ session }})
    left join corrections using ({{ session }}, ksef_number)
    left join {{ ref('judged_failures') }} as failures using ({{ session }}, invoice_reference_number)
),

parts as (
    select {{ grain }}, {{ filled(counts, of_rows + ['unread_count'], 0) }} from (
        select *, case when basis = 'rows' then accepted_count end as accepted_in_rows_count
        from {{ ref('decided_days') }}
    ) as decided
    union all
    select {{ grain }}, {{ filled(counts, of_sessions + ['unread_count'], 0) }} from rows_of_day
    where coalesce(pending_count, corrected_count, failed_first_count) is not null
    union all
    select
        context_type, context_id, session_type, created_day, {{ filled(counts[:-2], counts, 0) }},
        case when basis = 'open' then greatest(invoice_count - stored_invoice_count, 0) end,
        unread_count
    from {{ ref('compared_sessions') }}
    where unread_count > 0
)

select
    {{ grain }},
    {%- for count in counts %}
    cast(coalesce(sum({{ count }}), 0) as bigint) as {{ count }}{{ ',' if not loop.last }}
    {%- endfor %}
from parts
group by {{ grain }}
