{% set grain = 'day, context_type, context_id, subject_type' %}
{% set measured = ['size_bytes', 'hwm_lag_seconds', 'seconds_to_completion'] %}
{% set shares = {'p50': 0.5, 'p95': 0.95} %}
{% set hours = sum_where('covered_seconds', 'metadata_count is not null') ~ ' / 3600' %}

with counted as (
    select
        {{ grain }},
        count(*) as package_count,
        {{ count_where('is_built') }} as built_count,
        {{ count_where('is_built and metadata_count is null') }} as untaken_count,
        {{ count_where('is_built and coalesce(is_effectively_truncated, is_truncated)') }} as truncated_count,
        {%- for cap in ['count', 'size', 'unknown'] %}
        {{ count_where("is_built and truncated_by = '" ~ cap ~ "'") }}
            as truncated_by_{{ cap }}_count,
        {%- endfor %}
        cast(coalesce(sum(invoice_count), 0) as bigint) as invoice_count,
        max(count_cap_share) as max_count_cap_share,
        sum(count_cap_share) / nullif({{ count_where('is_built') }}, 0) as mean_count_cap_share,
        cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes,
        max(size_cap_share) as max_size_cap_share,
        sum(size_cap_share) / nullif({{ count_where('is_built') }}, 0) as mean_size_cap_share,
        {%- for column in measured %}
        {%- for name, share in shares.items() %}
        {{ percentile(column, share) }}
            as {{ name }}_{{ column }},
        {%- endfor %}
        {%- endfor %}
        max(hwm_lag_seconds) as max_hwm_lag_seconds,
        {{ hours }} as covered_hours,
        {{ rate(sum_where('invoice_count', 'metadata_count is not null'), hours) }}
            as invoices_per_hour,
        {{ rate(sum_where('size_bytes', 'metadata_count is not null'), hours) }}
            as bytes_per_hour,
        min(widest_window_hours) as min_widest_window_hours,
        {{ latest_of('backlog_seconds', ['requested_at'], type='double') }} as last_backlog_seconds,
        max(backlog_seconds) as max_backlog_seconds,
        min(seconds_to_expiry) as min_seconds_to_expiry,
        -- Of the last package also when it is unknown.
        cast(nullif({{ latest_of('coalesce(exports_to_catch_up, -1)', ['requested_at'],
            'is_effectively_truncated is not null', type='integer') }}, -1) as integer)
            as exports_to_catch_up
    from {{ with_percentiles(ref('measured_packages'), grain, measured, shares.values()) }}
    group by {{ grain }}
)

select
    *,
    {{ rate('truncated_count', 'built_count') }} as truncation_rate
from counted
