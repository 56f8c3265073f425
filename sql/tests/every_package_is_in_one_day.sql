{% set subject = 'context_type, context_id, subject_type' %}

with days as (
    select {{ subject }}, sum(package_count) as in_days, sum(built_count) as built_in_days
    from {{ ref('package_truncation') }}
    where truncated_count <= built_count and built_count <= package_count
    group by all
),

told as (
    select {{ subject }}, count(*) as told, count(*) filter (where status_code = 200) as built
    from {{ ref('stg_export_packages') }}
    group by all
),

windows as (
    select {{ subject }}, count(*) as windows, count(*) filter (where relation = 'first') as firsts
    from {{ ref('package_windows') }}
    group by all
)

select *
from told
full join days using ({{ subject }})
full join windows using ({{ subject }})
where told is distinct from in_days or built is distinct from built_in_days
    or windows > built or firsts != 1
