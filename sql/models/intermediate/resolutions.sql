with matches as (
    select * from {{ ref('resolution_matches') }}
    union all by name
    select
        context_type, context_id, session_reference_number, invoice_reference_number,
        submitted_at as failed_at,
        'original_ksef_number' as rule,
        original_ksef_number as accepted_ksef_number
    from {{ ref('judged_submissions') }}
    where is_original_ours
)

select
    matches.* exclude (failed_at, submitted_at),
    rules.confidence,
    case
        when rule = 'original_ksef_number' then 'duplicate_of_accepted'
        when matches.submitted_at > matches.failed_at then 'accepted_later'
        else 'accepted_before'
    end as resolution,
    case when matches.submitted_at > matches.failed_at
        then {{ seconds_between('matches.failed_at', 'matches.accepted_at') }}
    end as seconds_to_resolution
from matches
inner join {{ ref('resolution_rules') }} as rules using (rule)
-- Of equally good ones the next that follows, else the last before; the failure's own login first.
qualify row_number() over (
    partition by context_type, context_id, session_reference_number, invoice_reference_number
    order by
        rules.rank,
        matches.submitted_at <= matches.failed_at,
        abs({{ microseconds_between('matches.failed_at', 'matches.submitted_at') }}),
        (accepted_context_type, accepted_context_id) != (context_type, context_id),
        accepted_ksef_number
) = 1
