{% set taxpayer = 'context_type, context_id' %}
{% set day = 'coalesce(sessions.created_day, ' ~ warsaw_day('accepted_at') ~ ')' %}
{% set stored_by = 'coalesce(invoices.stored_at, '
    ~ hours_after('invoices.accepted_at', var('storage_hours')) ~ ')' %}

with sent as (
    select
        {{ taxpayer }},
        ksef_number,
        {{ month_of(day) }} as month,
        'session' as origin,
        known_from = 'invoices' as has_row,
        has_receipt,
        case
            when is_exported then 'exported'
            -- A KSeF number begins with the seller's NIP.
            when left(ksef_number, 10) != left(context_id, 10) then 'other_seller'
            when coalesce(stored_at, accepted_at) < coverage.exported_from then 'before_exports'
            when {{ stored_by }} < coverage.exported_to then 'missing'
            else 'pending'
        end as export_state
    from {{ ref('judged_submissions') }} as invoices
    left join {{ ref('compared_sessions') }} as sessions using ({{ taxpayer }}, session_reference_number)
    left join {{ ref('export_coverage') }} as coverage using ({{ taxpayer }})
    where invoices.outcome = 'accepted'
)

select * from sent
union all
select
    {{ taxpayer }},
    ksef_number,
    {{ month_of(warsaw_day('accepted_at')) }} as month,
    case
        when is_self_invoicing then 'self_invoicing'
        when ksef_number in (select ksef_number from sent) then 'other_context'
        else 'export'
    end as origin,
    false as has_row,
    false as has_receipt,
    'exported' as export_state
from {{ ref('stg_invoice_metadata') }} as exported
where subject_type = 'Subject1'
    and not {{ is_in('exported', 'sent', ['context_type', 'context_id', 'ksef_number']) }}
