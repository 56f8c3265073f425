with months as (
    select *, row_count + upo_count as rows_and_upos
    from {{ ref('invoice_completeness') }}
)

select *
from months
where known_count
    != known_in_sessions_count + known_only_by_export_count + self_invoicing_count
        + other_context_count
    or known_count
    != export_count + missing_export_count + pending_export_count + before_exports_count
        + other_seller_count
    or known_in_sessions_count not between greatest(row_count, upo_count) and rows_and_upos
    or least(unread_count, missing_rows_count, missing_upo_count) < 0
    or unread_count < counted_count - known_in_sessions_count
