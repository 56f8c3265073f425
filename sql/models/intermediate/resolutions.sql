{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}
{% set unknown = ['accepted_context_type', 'accepted_context_id', 'accepted_in_session',
    'accepted_reference_number'] %}

with matches as (
    select * from {{ ref('resolution_matches') }}
    union all
    select
        context_type, context_id, session_reference_number, invoice_reference_number,
        submitted_at as failed_at,
        'original_ksef_number' as rule,
        {%- for column in unknown %}
        null as {{ column }},
        {%- endfor %}
        original_ksef_number as accepted_ksef_number,
        null as submitted_at,
        null as accepted_at
    from {{ ref('judged_submissions') }}
    where is_original_ours
),

ranked as (
    select
        matches.*,
        rules.confidence,
        -- Of equally good ones the next that follows, else the last before; the failure's own login
        -- first.
        row_number() over (
            partition by {{ key }}
            order by
                rules.rank,
                matches.submitted_at <= matches.failed_at,
                abs({{ microseconds_between('matches.failed_at', 'matches.submitted_at') }}),
                accepted_context_type != context_type or accepted_context_id != context_id,
                accepted_ksef_number
        ) as place
    from matches
    inner join {{ ref('resolution_rules') }} as rules using (rule)
)

select
    {{ key }}, rule, {{ unknown | join(', ') }}, accepted_ksef_number, accepted_at, confidence,
    case
        when rule = 'original_ksef_number' then 'duplicate_of_accepted'
        when submitted_at > failed_at then 'accepted_later'
        else 'accepted_before'
    end as resolution,
    case when submitted_at > failed_at
        then {{ seconds_between('failed_at', 'accepted_at') }}
    end as seconds_to_resolution
from ranked
where place = 1
