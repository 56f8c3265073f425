{% set taxpayer = 'context_type, context_id' %}

with known as (
    select distinct {{ taxpayer }}
    from (
        {%- for table in ['sync_log', 'sessions', 'session_invoices', 'failed_invoices',
            'upo_documents', 'export_packages', 'invoice_metadata'] %}
        {{ 'union all' if not loop.first }}
        select distinct {{ taxpayer }} from {{ ref('stg_' ~ table) }}
        {%- endfor %}
    ) as named_anywhere
),

logged as (
    select
        {{ taxpayer }},
        nullif({{ latest_of("coalesce(taxpayer_name, '')", ['run_id']) }}, '') as configured_name,
        max(ended_at) as last_load_at,
        max(case when outcome = 'ok' and part in ('sessions_online', 'sessions_batch')
            then ended_at end) as last_listed_at
    from {{ ref('stg_sync_log') }}
    group by {{ taxpayer }}
),

submitted as (
    select
        {{ taxpayer }},
        count(*) as session_count,
        min(created_at) as first_session_at, max(created_at) as last_session_at
    from {{ ref('stg_sessions') }}
    group by {{ taxpayer }}
),

exported as (
    select
        {{ taxpayer }},
        count(*) as exported_invoice_count,
        {%- for party in ['seller', 'buyer'] %}
        {{ latest_of(party ~ '_name', ['accepted_at', 'ksef_number'], 'is_' ~ party) }} as {{ party }}_name
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('distinct_invoices') }}
    group by {{ taxpayer }}
)

select
    {{ taxpayer }},
    left(context_id, 10) as nip,
    coalesce(configured_name, seller_name, buyer_name) as name,
    case when configured_name is not null then 'configuration'
        when coalesce(seller_name, buyer_name) is not null then 'invoices' end as name_from,
    coalesce(session_count, 0) as session_count, first_session_at, last_session_at,
    coalesce(exported_invoice_count, 0) as exported_invoice_count,
    last_listed_at, last_load_at
from known
left join logged using ({{ taxpayer }})
left join submitted using ({{ taxpayer }})
left join exported using ({{ taxpayer }})
