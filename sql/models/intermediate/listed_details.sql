{% set key = 'context_type, context_id, session_reference_number, invoice_reference_number' %}

with failed as (
    select submissions.*
    from {{ ref('submissions') }} as submissions
    left join {{ ref('invoice_statuses') }} as statuses using (status_code)
    where {{ outcome_of('statuses.outcome', 'submissions.status_code') }}
        not in ('accepted', 'pending')
),

given as (
    select
        failed.* exclude (status_details),
        details.detail,
        cast(details.detail_number as integer) as detail_number
    from failed
    cross join unnest({{ json_texts('failed.status_details') }})
        with ordinality as details (detail, detail_number)
    where trim(details.detail) != ''
),

-- What KSeF gives no detail of is described by the text of its code.
described as (
    select
        *,
        status_description as detail,
        1 as detail_number
    from failed
    anti join given using ({{ key }})
)

select
    {{ key }}, submitted_at, status_code, detail_number, detail
from given
union all
select
    {{ key }}, submitted_at, status_code, detail_number, detail
from described
