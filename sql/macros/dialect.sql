{# Functions whose names differ between warehouses. #}

{# The Europe/Warsaw day of an instant. #}
{% macro warsaw_day(instant) -%}
    cast(timezone('Europe/Warsaw', {{ instant }}) as date)
{%- endmacro %}

{% macro microseconds_between(earlier, later) -%}
    date_diff('microsecond', {{ earlier }}, {{ later }})
{%- endmacro %}

{# Seconds between two instants, from whole microseconds. #}
{% macro seconds_between(earlier, later) -%}
    ({{ kseflow.microseconds_between(earlier, later) }} / 1000000.0)
{%- endmacro %}

{# The seventh decimal of a moment's text, which no timestamp holds; 0 when it has fewer. #}
{% macro seventh_decimal(text) -%}
    coalesce(cast(nullif(regexp_extract({{ text }}, '[.][0-9]{6}([0-9])', 1), '') as integer), 0)
{%- endmacro %}

{% macro month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{% macro json_value(json, path) -%}
    json_extract_string({{ json }}, '{{ path }}')
{%- endmacro %}

{% macro json_length(json) -%}
    coalesce(cast(json_array_length({{ json }}) as integer), 0)
{%- endmacro %}

{# The texts of a JSON list, in their order. #}
{% macro json_texts(json) -%}
    json_extract_string({{ json }}, '$[*]')
{%- endmacro %}

{% macro days_from_to(first, last) -%}
    unnest(generate_series({{ first }}, {{ last }}, interval 1 day))
{%- endmacro %}

{% macro all_replaced(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{# The value beside the greatest `at`, of rows where neither is null. #}
{% macro latest_of(value, at) -%}
    arg_max({{ value }}, {{ at }})
{%- endmacro %}
