{% set dates = ['last_issue_date', 'last_submitted_at', 'last_stored_at'] %}
{% set from_metadata = [] %}
{%- for date in dates %}
    {%- do from_metadata.append('case when packages.' ~ date ~ ' is null and contents.' ~ date
        ~ " is not null then '" ~ date ~ "' end") %}
{%- endfor %}
{% set columns = ['context_type', 'context_id', 'subject_type', 'package_reference_number', 'day',
    'requested_at', 'completed_at', 'expires_at', 'seconds_to_completion', 'status_code',
    'status_description', 'meaning', 'reason', 'outcome', 'is_built', 'who_acts', 'what_to_do',
    'error', 'requested_from', 'requested_from_text', 'requested_to', 'window_seconds', 'next_from',
    'next_from_text', 'cursor_moved', 'covered_seconds', 'hwm_at', 'hwm_text', 'hwm_lag_seconds',
    'is_metadata_only', 'invoice_count', 'metadata_count', 'size_bytes', 'part_count',
    'compression_type', 'count_cap_share', 'size_cap_share', 'is_truncated',
    'is_effectively_truncated', 'exports_to_catch_up', 'read_at'] %}
{% set hours = 'nullif(packages.covered_seconds, 0) / 3600' %}

with measured as (
    select
        {%- for column in columns %}
        packages.{{ column }},
        {%- endfor %}
        {%- for date in dates %}
        coalesce(packages.{{ date }}, contents.{{ date }}) as {{ date }},
        {%- endfor %}
        {{ listed(from_metadata) }} as last_dates_from_metadata,
        case when packages.metadata_count is not null
            then packages.invoice_count / ({{ hours }}) end as invoices_per_hour,
        case when packages.metadata_count is not null
            then packages.size_bytes / ({{ hours }}) end as bytes_per_hour,
        case when coalesce(packages.is_effectively_truncated, packages.is_truncated) then case
            when greatest(packages.invoice_count, coalesce(packages.metadata_count, 0))
                >= {{ var('package_cap_invoices') }} then 'count'
            when packages.size_cap_share >= {{ var('near_cap_share') }} then 'size'
            else 'unknown'
        end end as truncated_by,
        {{ seconds_between('packages.next_from', 'packages.requested_at') }} as backlog_seconds,
        {{ seconds_between('packages.completed_at', 'packages.expires_at') }} as kept_seconds,
        case when packages.is_built and packages.metadata_count is null
            then {{ seconds_between('as_of.as_of', 'packages.expires_at') }}
        end as seconds_to_expiry
    from {{ ref('judged_packages') }} as packages
    left join {{ ref('package_contents') }} as contents
        using (context_type, context_id, subject_type, package_reference_number)
    cross join {{ ref('copy_moment') }} as as_of
)

select
    *,
    {{ rate(var('package_cap_invoices'), 'invoices_per_hour') }} as widest_window_hours_by_count,
    {{ rate(var('package_cap_bytes'), 'bytes_per_hour') }} as widest_window_hours_by_size,
    {{ least_of([rate(var('package_cap_invoices'), 'invoices_per_hour'),
        rate(var('package_cap_bytes'), 'bytes_per_hour')]) }} as widest_window_hours
from measured
