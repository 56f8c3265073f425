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
        {{ key }}, submitted_at, status_code,
        {{ text_of_row('failed.status_details') }} as detail,
        {{ number_of_row() }} as detail_number
    from failed
    {{ join_each_text('failed.status_details') }}
    where trim({{ text_of_row('failed.status_details') }}) != ''
),

-- What KSeF gives no detail of is described by the text of its code.
described as (
    select
        {{ key }}, submitted_at, status_code,
        status_description as detail,
        1 as detail_number
    from failed
    where not {{ is_in('failed', 'given', key.split(', ')) }}
)

select
    {{ key }}, submitted_at, status_code, detail_number, detail
from given
union all
select
    {{ key }}, submitted_at, status_code, detail_number, detail
from described
