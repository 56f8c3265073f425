-- Windows normally touch: see package_windows; coverage_holes has what lies in between. When
-- exports are begun anew, they reach as far as the new walk has come.
select
    context_type,
    context_id,
    subject_type,
    min(requested_from) over (partition by context_type, context_id, subject_type) as exported_from,
    next_from as exported_to
from {{ ref('joined_windows') }}
qualify row_number() over (
    partition by context_type, context_id, subject_type order by requested_at desc, next_from desc
) = 1
