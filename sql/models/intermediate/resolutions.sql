{% set rules = ['invoice_hash', 'invoice_number', 'invoice_file_name'] %}
{% set same_taxpayer = 'failures.context_type = accepted.context_type
        and failures.context_id = accepted.context_id' %}

with failures as (
    select * from {{ ref('judged_submissions') }} where outcome not in ('accepted', 'pending')
),

{% for rule in rules -%}
by_{{ rule }} as (
    select
        context_type, context_id, {{ rule }}, invoice_number as accepted_invoice_number,
        session_reference_number as accepted_in_session, ksef_number as accepted_ksef_number,
        invoice_reference_number as accepted_reference_number, submitted_at, accepted_at
    from {{ ref('judged_submissions') }}
    where outcome = 'accepted'
        and (context_type, context_id, {{ rule }}) in (
            select (context_type, context_id, {{ rule }}) from failures
        )
    {%- if rule == 'invoice_file_name' %}
    -- A name that was accepted twice, such as 1.xml, tells nothing.
    qualify count(*) over (partition by context_type, context_id, invoice_file_name) = 1
    {%- endif %}
),

{% endfor -%}
matches as (
    {% for rule in rules -%}
    {{ 'union all' if not loop.first }}
    select
        failures.context_type, failures.context_id,
        failures.session_reference_number, failures.invoice_reference_number,
        {{ loop.index }} as rule_rank, '{{ rule }}' as rule,
        accepted.* exclude (context_type, context_id, {{ rule }}, submitted_at)
    from failures
    asof join by_{{ rule }} as accepted
        on {{ same_taxpayer }}
        and failures.{{ rule }} = accepted.{{ rule }}
        and failures.submitted_at < accepted.submitted_at
    {%- if rule == 'invoice_file_name' %}
    where accepted.submitted_at
        <= failures.submitted_at + interval '{{ var("file_name_reach_days") }} days'
        and coalesce(failures.invoice_number = accepted.accepted_invoice_number, true)
    {%- endif %}
    {% endfor %}
)

select * exclude (rule_rank, accepted_invoice_number)
from matches
qualify row_number() over (
    partition by context_type, context_id, session_reference_number, invoice_reference_number
    order by rule_rank
) = 1
