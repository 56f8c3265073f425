{% set grain = 'context_type, context_id, session_type, day' %}
{% set session = 'context_type, context_id, session_reference_number' %}
{% set counts = ['accepted', 'failed', 'rejected', 'duplicate', 'system_error', 'cancelled',
    'session_failed', 'unclassified_failed', 'uncounted_failed', 'unaccounted', 'undated',
    'from_counters', 'pending', 'unread', 'accepted_in_rows', 'corrected', 'failed_first'] %}

with sessions as (
    select * from {{ ref('compared_sessions') }}
),

corrections as (
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
    left join sessions using ({{ session }})
    left join corrections using ({{ session }}, ksef_number)
    left join {{ ref('judged_failures') }} as failures using ({{ session }}, invoice_reference_number)
),

parts as (
    select *, case when basis = 'rows' then accepted_count end as accepted_in_rows_count
    from {{ ref('decided_days') }}
    union all by name
    select * from rows_of_day
    where coalesce(pending_count, corrected_count, failed_first_count) is not null
    union all by name
    select
        {{ session }}, session_type, created_day as day,
        unread_count,
        case when basis = 'open' then greatest(invoice_count - stored_invoice_count, 0) end
            as pending_count
    from sessions
    where unread_count > 0
)

select
    {{ grain }},
    {%- for count in counts %}
    cast(coalesce(sum({{ count }}_count), 0) as bigint) as {{ count }}_count
    {{- ',' if not loop.last }}
    {%- endfor %}
from parts
group by all
