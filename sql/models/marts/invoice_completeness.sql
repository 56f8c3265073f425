{% set grain = 'month, context_type, context_id' %}
{% set taxpayer = 'context_type, context_id' %}
{% set states = ['missing', 'pending', 'before_exports', 'other_seller'] %}

with counted as (
    select
        {{ month_of('created_day') }} as month, {{ taxpayer }},
        sum(accepted_count) as counted_count,
        sum(greatest(accepted_count - stored_accepted_count, 0)) as unread_count
    from {{ ref('compared_sessions') }}
    group by 1, 2, 3
),

known as (
    select
        {{ grain }},
        count(*) as known_count,
        {{ count_where("origin = 'session'") }} as known_in_sessions_count,
        {{ count_where("has_row") }} as row_count,
        {{ count_where("has_receipt") }} as upo_count,
        {{ count_where("export_state = 'exported'") }} as export_count,
        {%- for state in states %}
        {{ count_where("export_state = '" ~ state ~ "'") }} as {{ state }}_count,
        {%- endfor %}
        {{ count_where("origin = 'export'") }} as known_only_by_export_count,
        {{ count_where("origin = 'self_invoicing'") }} as self_invoicing_count,
        {{ count_where("origin = 'other_context'") }} as other_context_count
    from {{ ref('accepted_numbers') }}
    group by {{ grain }}
),

completed as (
    select
        {{ grain }},
        {%- for column in ['counted', 'unread', 'known', 'known_in_sessions', 'row', 'upo',
            'export', 'known_only_by_export', 'self_invoicing', 'other_context'] + states %}
        cast(coalesce({{ column }}_count, 0) as bigint) as {{ column }}_count
        {{- ',' if not loop.last }}
        {%- endfor %}
    from counted
    full join known using ({{ grain }})
)

select
    {{ grain }},
    counted_count, row_count, upo_count, export_count, known_count, known_in_sessions_count,
    unread_count,
    known_in_sessions_count + unread_count - row_count as missing_rows_count,
    known_in_sessions_count + unread_count - upo_count as missing_upo_count,
    missing_count as missing_export_count,
    pending_count as pending_export_count,
    before_exports_count, other_seller_count,
    known_only_by_export_count, self_invoicing_count, other_context_count,
    exported_from, exported_to
from completed
left join {{ ref('export_coverage') }} using ({{ taxpayer }})
