{% set outcomes = ['accepted', 'rejected', 'duplicate', 'system_error', 'cancelled', 'pending'] %}

select
    context_type,
    context_id,
    session_reference_number,
    count(*) as stored_invoice_count,
    {%- for outcome in outcomes %}
    {{ count_where("outcome = '" ~ outcome ~ "'") }} as stored_{{ outcome }}_count,
    {%- endfor %}
    {{ count_where("outcome not in ('accepted', 'pending')") }} as stored_failed_count,
    count(lacks) as rows_lacking_count
from {{ ref('judged_submissions') }}
group by 1, 2, 3
