{% set subject = 'context_type, context_id, subject_type' %}
{% set so_far = 'over (partition by ' ~ subject
    ~ ' order by moment rows between unbounded preceding and current row)' %}

with packages as (
    select * from {{ ref('judged_packages') }} where metadata_count is not null
),

borders as (
    select
        {{ subject }}, moment, sum(row_count) as here_count,
        sum(sum(row_count)) {{ so_far }} as up_to_here_count
    from (
        select {{ subject }}, stored_at as moment, 1 as row_count from {{ ref('stg_invoice_metadata') }}
        {%- for border in ['requested_from', 'next_from'] %}
        union all select {{ subject }}, {{ border }}, 0 from packages
        {%- endfor %}
    ) as moments
    group by {{ subject }}, moment
),

-- A row names the package that its invoice last came in. What lies on the border of a truncated
-- package came again with the next one.
contained as (
    select {{ subject }}, package_reference_number, issue_date, submitted_at, stored_at
    from {{ ref('stg_invoice_metadata') }}
    union all
    select {{ subject }}, packages.package_reference_number, issue_date, submitted_at, stored_at
    from packages
    inner join {{ ref('stg_invoice_metadata') }} as exported using ({{ subject }})
    where packages.is_effectively_truncated and exported.stored_at = packages.next_from
),

latest as (
    select
        {{ subject }}, package_reference_number,
        {%- for column in ['issue_date', 'submitted_at', 'stored_at'] %}
        max({{ column }}) as last_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from contained
    group by {{ subject }}, package_reference_number
)

select
    packages.context_type, packages.context_id, packages.subject_type,
    packages.package_reference_number, requested_from, next_from, invoice_count, metadata_count,
    latest.last_issue_date, latest.last_submitted_at, latest.last_stored_at,
    cast(ends.up_to_here_count - begins.up_to_here_count + begins.here_count as bigint)
        as rows_in_window_count,
    -- Windows include their borders, down to a seventh decimal that rows do not have.
    cast(begins.here_count + case when next_from > requested_from then ends.here_count else 0 end
        as bigint) as rows_on_border_count
from packages
left join latest using ({{ subject }}, package_reference_number)
{%- for name, moment in {'begins': 'requested_from', 'ends': 'next_from'}.items() %}
left join borders as {{ name }}
    on packages.context_type = {{ name }}.context_type and packages.context_id = {{ name }}.context_id
    and packages.subject_type = {{ name }}.subject_type and packages.{{ moment }} = {{ name }}.moment
{%- endfor %}
