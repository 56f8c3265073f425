{% set grain = 'context_type, context_id, session_type' %}
{% set by_company = 'over (partition by company_nip ' %}
{% set up_to_the_day = by_company ~ 'order by day rows between unbounded preceding and current row)' %}
{% set within_reach_of_a_name = by_company ~ within_days('day', var('file_name_reach_days')) ~ ')' %}
{% set counts = ['accepted', 'failed', 'rejected', 'duplicate', 'system_error', 'cancelled',
    'session_failed', 'unclassified_failed', 'uncounted_failed', 'unaccounted', 'undated',
    'from_counters', 'pending', 'unread', 'accepted_in_rows', 'corrected', 'failed_first'] %}

with counted as (
    select
        {{ grain }}, day, {{ company_nip() }} as company_nip,
        {%- for count in counts %}
        coalesce(counts.{{ count }}_count, 0) as {{ count }}_count,
        {%- endfor %}
        coalesce(nameless.nameless_count, 0) as nameless_count,
        coalesce(nameless.named_failure_count, 0) as named_failure_count
    from {{ ref('daily_spine') }}
    left join {{ ref('daily_counts') }} as counts using ({{ grain }}, day)
    left join {{ ref('nameless_acceptances') }} as nameless using ({{ grain }}, day)
),

-- A correction is of the company, whichever of its identifiers failed before.
awaited as (
    select
        company_nip, day,
        sum(sum(unclassified_failed_count)) {{ up_to_the_day }} as unread_failures,
        sum(sum(from_counters_count - session_failed_count)) {{ up_to_the_day }} as unread_invoices,
        sum(sum(named_failure_count)) {{ within_reach_of_a_name }} as named_failures
    from counted
    group by company_nip, day
),

-- An acceptance may turn out to follow a failure that is not read yet, or to bear the name of a
-- failed file, and a failure to follow another one, or the acceptance of the same file: then none
-- is a first attempt.
attempted as (
    select
        counted.*,
        accepted_in_rows_count - corrected_count as first_pass_count,
        cast(from_counters_count - session_failed_count as bigint) as unread_attempt_count,
        cast(least(
            accepted_in_rows_count - corrected_count,
            unread_failures + least(nameless_count, named_failures)
        ) as bigint) as doubtful_pass_count,
        cast(least(failed_first_count, unread_invoices) as bigint) as doubtful_failure_count
    from counted
    inner join awaited using (company_nip, day)
)

select
    *,
    accepted_count + failed_count as decided_count,
    first_pass_count + failed_first_count as first_attempt_count,
    cast(unread_attempt_count + doubtful_pass_count + doubtful_failure_count as bigint)
        as first_pass_unknown_count
from attempted
