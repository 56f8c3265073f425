{# What counts as what; each is pinned by a unit test. #}

{# A code that the seeds do not know yet: below 200 in process, above 200 refused. #}
{% macro outcome_of(seed_outcome, status_code) -%}
    coalesce({{ seed_outcome }}, case when {{ status_code }} < 200 then 'pending' else 'rejected' end)
{%- endmacro %}

{% macro rate(numerator, denominator) -%}
    {{ kseflow.as_double(numerator) }} / nullif({{ denominator }}, 0)
{%- endmacro %}
