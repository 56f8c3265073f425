{% set subject = 'context_type, context_id, subject_type' %}

with days as (
    select {{ subject }}, sum(package_count) as in_days, sum(built_count) as built_in_days
    from {{ ref('package_truncation') }}
    where truncated_count <= built_count and built_count <= package_count
    group by {{ subject }}
),

told as (
    select {{ subject }}, count(*) as told, {{ count_where('status_code = 200') }} as built
    from {{ ref('stg_export_packages') }}
    group by {{ subject }}
),

windows as (
    select {{ subject }}, count(*) as windows, {{ count_where("relation = 'first'") }} as firsts
    from {{ ref('package_windows') }}
    group by {{ subject }}
)

select *
from told
full join days using ({{ subject }})
full join windows using ({{ subject }})
where {{ differ('told', 'in_days') }} or {{ differ('built', 'built_in_days') }}
    or windows > built or firsts != 1
