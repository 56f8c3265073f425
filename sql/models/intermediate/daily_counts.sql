{% set grain = 'context_type, context_id, session_type, day' %}

with corrections as (
    select distinct
        context_type,
        context_id,
        resolved_in_session as session_reference_number,
        resolved_ksef_number as ksef_number
    from {{ ref('judged_failures') }}
    where resolution = 'accepted_later' and outcome != 'duplicate'
),

submitted as (
    select
        context_type, context_id, session_type, submitted_day as day,
        count(*) as submitted_count,
        {%- for outcome in ['accepted', 'rejected', 'duplicate', 'system_error', 'cancelled'] %}
        count(*) filter (where is_settled and outcome = '{{ outcome }}') as {{ outcome }}_count,
        {%- endfor %}
        count(*) filter (where not is_settled) as pending_count
    from {{ ref('judged_submissions') }}
    group by all
),

corrected as (
    select
        context_type, context_id, session_type, submitted_day as day,
        count(*) as corrected_count
    from {{ ref('judged_submissions') }}
    inner join corrections
        using (context_type, context_id, session_reference_number, ksef_number)
    where is_settled
    group by all
),

failed_first as (
    select
        context_type, context_id, session_type, submitted_day as day,
        count(*) as failed_first_count
    from {{ ref('judged_failures') }}
    where is_settled and is_first_attempt
    group by all
),

unread as (
    select
        context_type, context_id, session_type, created_day as day,
        sum(invoice_count - stored_invoice_count) as unread_count
    from {{ ref('compared_sessions') }}
    where invoice_count > stored_invoice_count
    group by all
)

select *
from submitted
full join corrected using ({{ grain }})
full join failed_first using ({{ grain }})
full join unread using ({{ grain }})
