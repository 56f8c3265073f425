{% set grain = 'context_type, context_id, session_type' %}
{% set session = 'context_type, context_id, session_reference_number' %}

with failures as (
    select *, {{ company_nip() }} as company_nip
    from {{ ref('judged_failures') }}
    where outcome != 'duplicate'
),

corrections as (
    select resolved_ksef_number as ksef_number from failures where resolution = 'accepted_later'
),

complete as (
    select * from {{ ref('compared_sessions') }} where basis = 'rows'
),

-- No receipt tells the name of a batch's file. It may turn out to be that of a failure.
nameless as (
    select {{ grain }}, submitted_day as day, invoice_number, {{ company_nip() }} as company_nip
    from {{ ref('judged_submissions') }} as submissions
    where outcome = 'accepted' and known_from = 'upo' and session_type != 'Online'
        and invoice_file_name is null
        and {{ is_in('submissions', 'complete', session.split(', ')) }}
        and not {{ is_in('submissions', 'corrections', ['ksef_number']) }}
),

named as (
    select {{ grain }}, submitted_day as day
    from failures
    where resolution = 'unresolved' and invoice_file_name is not null
        -- Two names are the same invoice only if its numbers do not contradict.
        and (
            invoice_number is null
            or {{ is_in('failures', 'nameless', ['company_nip', 'invoice_number']) }}
        )
),

parts as (
    select {{ grain }}, day, 1 as nameless_count, 0 as named_failure_count from nameless
    union all
    select {{ grain }}, day, 0 as nameless_count, 1 as named_failure_count from named
)

select
    {{ grain }}, day,
    cast(sum(nameless_count) as bigint) as nameless_count,
    cast(sum(named_failure_count) as bigint) as named_failure_count
from parts
group by {{ grain }}, day
