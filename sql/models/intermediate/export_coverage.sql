-- Windows normally touch: see package_windows. What lies in a gap is missing. When exports are
-- begun anew, they reach as far as the new walk has come.
select
    context_type,
    context_id,
    min(requested_from) over (partition by context_type, context_id) as exported_from,
    next_from as exported_to
from {{ ref('joined_windows') }}
where subject_type = 'Subject1'
qualify row_number() over (
    partition by context_type, context_id order by requested_at desc, next_from desc
) = 1
