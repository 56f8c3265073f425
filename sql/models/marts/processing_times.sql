{% set shares = {'p50': 0.5, 'p95': 0.95, 'p99': 0.99} %}

select
    submitted_day as day,
    session_type,
    session_type = 'Online' as is_service_time,
    count(*) as accepted_count,
    {{ count_where('has_negative_wait') }} as negative_wait_count,
    {%- for name, share in shares.items() %}
    {{ percentile('seconds_to_acceptance', share) }}
        as {{ name }}_seconds_to_acceptance,
    {%- endfor %}
    max(seconds_to_acceptance) as max_seconds_to_acceptance,
    count(seconds_to_storage) as stored_count,
    {%- for name, share in shares.items() %}
    {{ percentile('seconds_to_storage', share) }}
        as {{ name }}_seconds_to_storage,
    {%- endfor %}
    max(seconds_to_storage) as max_seconds_to_storage
from {{ with_percentiles(ref('judged_submissions'), 'submitted_day, session_type',
    ['seconds_to_acceptance', 'seconds_to_storage'], shares.values(), "outcome = 'accepted'") }}
where outcome = 'accepted'
group by 1, 2
