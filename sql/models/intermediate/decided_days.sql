{% set session = 'context_type, context_id, session_reference_number' %}
{% set known = ['rejected', 'duplicate', 'system_error', 'cancelled'] %}
{% set only_counters = ['session_failed_count', 'unclassified_failed_count',
    'uncounted_failed_count', 'unaccounted_count', 'undated_count'] %}
{% set counts = ['accepted_count', 'failed_count', 'pending_count', 'rejected_count',
    'duplicate_count', 'system_error_count', 'cancelled_count'] + only_counters %}

with closed as (
    select * from {{ ref('compared_sessions') }} where basis != 'open'
),

-- A session whose rows are all here counts on the days on which they were sent.
by_rows as (
    select
        {{ session }}, closed.session_type, basis, submissions.submitted_day as day,
        {%- for outcome in ['accepted', 'pending'] + known %}
        {{ count_where("submissions.outcome = '" ~ outcome ~ "'") }} as {{ outcome }}_count,
        {%- endfor %}
        {{ count_where("submissions.outcome not in ('accepted', 'pending')") }} as failed_count
    from closed
    inner join {{ ref('judged_submissions') }} as submissions using ({{ session }})
    where basis = 'rows'
    group by {{ session }}, closed.session_type, basis, submissions.submitted_day
),

-- Any other one counts as KSeF counts it, on its own day, which is that of all invoices of a batch.
by_counters as (
    select
        {{ session }}, session_type, basis,
        created_day as day,
        accepted_count,
        failed_count,
        {%- for outcome in known %}
        stored_{{ outcome }}_count as {{ outcome }}_count,
        {%- endfor %}
        session_failed_count,
        unclassified_failed_count,
        greatest(stored_failed_count - failed_count, 0) as uncounted_failed_count,
        case when is_failed_as_whole then 0 else pending_count end as pending_count,
        case when is_failed_as_whole then pending_count else 0 end as unaccounted_count,
        case when session_type != 'Batch' and updated_day > created_day
            then accepted_count + failed_count else 0 end as undated_count
    from closed
    where basis = 'counters'
        and (invoice_count + accepted_count + failed_count + stored_invoice_count > 0)
)

select
    {{ session }}, session_type, basis, day,
    {%- for count in counts %}
    cast(coalesce({{ count }}, 0) as bigint) as {{ count }},
    {%- endfor %}
    cast(case when basis = 'counters' then accepted_count + failed_count else 0 end as bigint)
        as from_counters_count
from (
    select {{ session }}, session_type, basis, day, {{ filled(counts, only_counters, 0) }} from by_rows
    union all
    select {{ session }}, session_type, basis, day, {{ filled(counts) }} from by_counters
) as parts
