{% set key = ['context_type', 'context_id', 'session_reference_number', 'invoice_reference_number'] %}

select
    details.context_type,
    details.context_id,
    details.session_reference_number,
    details.invoice_reference_number,
    {{ warsaw_day('details.submitted_at') }} as submitted_day,
    details.status_code,
    details.detail_number,
    row_number() over (
        partition by
            {%- for column in key %} details.{{ column }}{{ ',' if not loop.last }}{% endfor %}
        order by messages.specificity desc, details.detail_number
    ) = 1 as is_primary,
    details.detail,
    messages.normalised_message,
    messages.category,
    messages.xml_element,
    messages.xml_rule
from {{ ref('listed_details') }} as details
inner join {{ ref('failure_messages') }} as messages
    on details.status_code = messages.status_code
    and {{ same('details.detail', 'messages.message') }}
