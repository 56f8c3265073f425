-- Windows normally touch: see package_windows; coverage_holes has what lies in between. When
-- exports are begun anew, they reach as far as the new walk has come.
with sorted as (
    select
        context_type,
        context_id,
        subject_type,
        min(requested_from) over (partition by context_type, context_id, subject_type)
            as exported_from,
        next_from as exported_to,
        row_number() over (
            partition by context_type, context_id, subject_type
            order by requested_at desc, next_from desc
        ) as place
    from {{ ref('joined_windows') }}
)

select context_type, context_id, subject_type, exported_from, exported_to
from sorted
where place = 1
