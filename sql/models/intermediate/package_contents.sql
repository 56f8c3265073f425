{% set subject = 'context_type, context_id, subject_type' %}

with packages as (
    select * from {{ ref('judged_packages') }} where metadata_count is not null
),

exported as (
    select * from {{ ref('stg_invoice_metadata') }}
),

moments as (
    select {{ subject }}, stored_at, count(*) as here_count,
        sum(count(*)) over (partition by {{ subject }} order by stored_at) as up_to_here_count
    from exported
    group by {{ subject }}, stored_at
),

-- A row names the package that its invoice last came in. What lies on the border of a truncated
-- package came again with the next one.
contained as (
    select {{ subject }}, package_reference_number, issue_date, submitted_at, stored_at
    from exported
    union all
    select {{ subject }}, packages.package_reference_number, issue_date, submitted_at, stored_at
    from packages
    inner join exported using ({{ subject }})
    where packages.is_effectively_truncated and exported.stored_at = packages.next_from
),

latest as (
    select
        {{ subject }}, package_reference_number,
        {%- for column in ['issue_date', 'submitted_at', 'stored_at'] %}
        max({{ column }}) as last_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from contained
    group by all
)

select
    {{ subject }}, package_reference_number,
    requested_from, next_from, invoice_count, metadata_count,
    latest.last_issue_date, latest.last_submitted_at, latest.last_stored_at,
    cast(coalesce(ends.up_to_here_count, 0) - coalesce(begins.up_to_here_count, 0) as bigint)
        as rows_in_window_count,
    -- Windows include their borders, down to a seventh decimal that rows do not have.
    coalesce(firsts.here_count, 0) + case
        when ends.stored_at = next_from and next_from > requested_from then ends.here_count else 0
    end as rows_on_border_count
from packages
left join latest using ({{ subject }}, package_reference_number)
asof left join moments as ends
    on packages.context_type = ends.context_type and packages.context_id = ends.context_id
    and packages.subject_type = ends.subject_type and packages.next_from >= ends.stored_at
asof left join moments as begins
    on packages.context_type = begins.context_type and packages.context_id = begins.context_id
    and packages.subject_type = begins.subject_type and packages.requested_from > begins.stored_at
left join moments as firsts
    on packages.context_type = firsts.context_type and packages.context_id = firsts.context_id
    and packages.subject_type = firsts.subject_type and packages.requested_from = firsts.stored_at
