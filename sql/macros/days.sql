{# The Warsaw day a moment counts for. One that is after the copy, or before KSeF began, would stretch
   every list of days: it counts for the nearest day that can be, and is flagged. #}
{% macro bounded_day(instant, as_of_day) -%}
    {{ kseflow.least_of([kseflow.greatest_of([kseflow.warsaw_day(instant), kseflow.first_day()]), as_of_day]) }}
{%- endmacro %}

{% macro is_out_of_bounds(instant, as_of_day) -%}
    ({{ kseflow.warsaw_day(instant) }} < {{ kseflow.first_day() }}
        or coalesce({{ kseflow.warsaw_day(instant) }} > {{ as_of_day }}, false))
{%- endmacro %}

{% macro first_day() -%}
    cast('{{ var("first_day") }}' as date)
{%- endmacro %}
