{% set grain = 'day, context_type, context_id, subject_type' %}

with counted as (
    select
        {{ grain }},
        count(*) as package_count,
        count(*) filter (where is_built) as built_count,
        count(*) filter (
            where is_built and coalesce(is_effectively_truncated, is_truncated)
        ) as truncated_count,
        cast(sum(invoice_count) as bigint) as invoice_count,
        max(count_cap_share) as max_count_cap_share,
        {{ rate('sum(invoice_count)', '10000 * count(*) filter (where is_built)') }}
            as mean_count_cap_share,
        cast(sum(size_bytes) as bigint) as size_bytes,
        max(size_cap_share) as max_size_cap_share,
        {{ rate('sum(size_bytes)', '1000000000 * count(*) filter (where is_built)') }}
            as mean_size_cap_share,
        {%- for column in ['size_bytes', 'hwm_lag_seconds'] %}
        {%- for name, share in {'p50': 0.5, 'p95': 0.95}.items() %}
        percentile_cont({{ share }}) within group (order by {{ column }})
            as {{ name }}_{{ column }},
        {%- endfor %}
        {%- endfor %}
        max(hwm_lag_seconds) as max_hwm_lag_seconds
    from {{ ref('judged_packages') }}
    group by all
),

last_of_day as (
    select {{ grain }}, exports_to_catch_up
    from {{ ref('judged_packages') }}
    where is_effectively_truncated is not null
    qualify row_number() over (partition by {{ grain }} order by requested_at desc) = 1
)

select
    {{ grain }},
    package_count,
    built_count,
    truncated_count,
    {{ rate('truncated_count', 'built_count') }} as truncation_rate,
    coalesce(invoice_count, 0) as invoice_count,
    max_count_cap_share,
    mean_count_cap_share,
    coalesce(size_bytes, 0) as size_bytes,
    max_size_cap_share,
    mean_size_cap_share,
    p50_size_bytes, p95_size_bytes,
    p50_hwm_lag_seconds, p95_hwm_lag_seconds, max_hwm_lag_seconds,
    exports_to_catch_up
from counted
left join last_of_day using ({{ grain }})
