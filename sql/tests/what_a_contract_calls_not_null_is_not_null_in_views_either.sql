-- DuckDB checks a table's constraints when it is made, and a view's never.
{% set thin_marts = ['exported_invoices', 'failed_invoices', 'failure_details', 'invoices',
    'package_windows', 'packages', 'session_days', 'session_reasons', 'sessions', 'taxpayers'] %}

{%- for mart in thin_marts %}
{{ 'union all' if not loop.first }}
select '{{ mart }}' as mart, context_type, context_id, count(*) as row_count
from {{ ref(mart) }}
where false
{%- for column in kseflow.not_null_columns(mart) %} or {{ column }} is null {%- endfor %}
group by context_type, context_id
{%- endfor %}
