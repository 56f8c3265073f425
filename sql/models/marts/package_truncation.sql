{% set grain = 'day, context_type, context_id, subject_type' %}
{% set hours = 'sum(covered_seconds) filter (where metadata_count is not null) / 3600' %}

with counted as (
    select
        {{ grain }},
        count(*) as package_count,
        count(*) filter (where is_built) as built_count,
        count(*) filter (where is_built and metadata_count is null) as untaken_count,
        count(*) filter (
            where is_built and coalesce(is_effectively_truncated, is_truncated)
        ) as truncated_count,
        {%- for cap in ['count', 'size', 'unknown'] %}
        count(*) filter (where is_built and truncated_by = '{{ cap }}')
            as truncated_by_{{ cap }}_count,
        {%- endfor %}
        cast(coalesce(sum(invoice_count), 0) as bigint) as invoice_count,
        max(count_cap_share) as max_count_cap_share,
        sum(count_cap_share) / nullif(count(*) filter (where is_built), 0) as mean_count_cap_share,
        cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes,
        max(size_cap_share) as max_size_cap_share,
        sum(size_cap_share) / nullif(count(*) filter (where is_built), 0) as mean_size_cap_share,
        {%- for column in ['size_bytes', 'hwm_lag_seconds', 'seconds_to_completion'] %}
        {%- for name, share in {'p50': 0.5, 'p95': 0.95}.items() %}
        percentile_cont({{ share }}) within group (order by {{ column }})
            as {{ name }}_{{ column }},
        {%- endfor %}
        {%- endfor %}
        max(hwm_lag_seconds) as max_hwm_lag_seconds,
        {{ hours }} as covered_hours,
        {{ rate('sum(invoice_count) filter (where metadata_count is not null)', hours) }}
            as invoices_per_hour,
        {{ rate('sum(size_bytes) filter (where metadata_count is not null)', hours) }}
            as bytes_per_hour,
        min(widest_window_hours) as min_widest_window_hours,
        {{ latest_of('backlog_seconds', 'requested_at') }} as last_backlog_seconds,
        max(backlog_seconds) as max_backlog_seconds,
        min(seconds_to_expiry) as min_seconds_to_expiry
    from {{ ref('measured_packages') }}
    group by all
),

last_of_day as (
    select {{ grain }}, exports_to_catch_up
    from {{ ref('measured_packages') }}
    where is_effectively_truncated is not null
    qualify row_number() over (partition by {{ grain }} order by requested_at desc) = 1
)

select
    {{ grain }},
    counted.* exclude ({{ grain }}),
    {{ rate('truncated_count', 'built_count') }} as truncation_rate,
    last_of_day.exports_to_catch_up
from counted
left join last_of_day using ({{ grain }})
