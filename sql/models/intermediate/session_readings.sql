{{ config(materialized='view') }}

select
    context_type,
    context_id,
    session_reference_number,
    lists.endpoint,
    lists.row_count,
    receipts.row_count as receipt_count,
    coalesce(lists.session_date_updated, receipts.session_date_updated) as read_for,
    coalesce(lists.error, case when coalesce(lists.endpoint, 'failed') = 'failed'
        then receipts.error end) as error,
    {{ greatest_of(['lists.read_at', 'receipts.read_at']) }} as read_at
from {{ ref('stg_invoice_reads') }} as lists
full join {{ ref('stg_upo_reads') }} as receipts
    using (context_type, context_id, session_reference_number)
