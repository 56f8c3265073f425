select
    context_type,
    context_id,
    exported_from,
    exported_to
from {{ ref('subject_coverage') }}
where subject_type = 'Subject1'
