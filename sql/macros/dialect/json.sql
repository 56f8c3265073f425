{# Lists and objects, which staging has as text. #}

{# PostgreSQL's texts hold no character zero: a blank stands for it. #}
{% macro jsonb(text) -%}
    cast(regexp_replace({{ text }}, '(?<!\\)((\\\\)*)\\u0000', '\1 ', 'g') as jsonb)
{%- endmacro %}

{# The text at a path, which is $.a_field or $[0]; null for none. #}
{% macro json_value(json, path) -%}
    {{ return(adapter.dispatch('json_value', 'kseflow')(json, path)) }}
{%- endmacro %}

{% macro duckdb__json_value(json, path) -%}
    json_extract_string({{ json }}, '{{ path }}')
{%- endmacro %}

{% macro postgres__json_value(json, path) -%}
    (jsonb_path_query_first({{ kseflow.jsonb(json) }}, '{{ path }}') #>> '{}'){{ ' collate "C"' }}
{%- endmacro %}

{% macro spark__json_value(json, path) -%}
    get_json_object({{ json }}, '{{ path }}')
{%- endmacro %}

{% macro bigquery__json_value(json, path) -%}
    json_value({{ json }}, '{{ path }}')
{%- endmacro %}

{% macro snowflake__json_value(json, path) -%}
    cast(get_path(parse_json({{ json }}), '{{ path[2:] if path[1] == "." else path[1:] }}') as varchar)
{%- endmacro %}

{% macro redshift__json_value(json, path) -%}
    {%- if path[1] == '.' -%}
    nullif(json_extract_path_text({{ json }}, '{{ path[2:] }}', true), '')
    {%- else -%}
    nullif(json_extract_array_element_text({{ json }}, {{ path[2:-1] }}, true), '')
    {%- endif -%}
{%- endmacro %}

{% macro json_length(json) -%}
    coalesce(cast({{ adapter.dispatch('json_list_length', 'kseflow')(json) }} as {{ kseflow.type('integer') }}), 0)
{%- endmacro %}

{% macro default__json_list_length(json) -%}
    json_array_length({{ json }})
{%- endmacro %}

{% macro postgres__json_list_length(json) -%}
    jsonb_array_length({{ kseflow.jsonb(json) }})
{%- endmacro %}

{% macro redshift__json_list_length(json) -%}
    {{ kseflow.default__json_list_length(json) }}
{%- endmacro %}

{% macro bigquery__json_list_length(json) -%}
    array_length(json_query_array({{ json }}))
{%- endmacro %}

{% macro snowflake__json_list_length(json) -%}
    array_size(parse_json({{ json }}))
{%- endmacro %}

{# Behind a table: joins each of its rows with every text of a JSON list; `text_of_row` is it then,
   and `number_of_row` its place, from 1. #}
{% macro join_each_text(json) -%}
    {{ return(adapter.dispatch('join_each_text', 'kseflow')(json)) }}
{%- endmacro %}

{% macro text_of_row(json) -%}
    {{ return(adapter.dispatch('text_of_row', 'kseflow')(json)) }}
{%- endmacro %}

{% macro number_of_row() -%}
    {{ return(adapter.dispatch('number_of_row', 'kseflow')()) }}
{%- endmacro %}

{% macro default__text_of_row(json) -%}
    texts.text
{%- endmacro %}

{% macro default__number_of_row() -%}
    cast(texts.number as integer)
{%- endmacro %}

{% macro duckdb__join_each_text(json) -%}
    cross join unnest(json_extract_string({{ json }}, '$[*]')) with ordinality as texts (text, number)
{%- endmacro %}

{% macro postgres__join_each_text(json) -%}
    cross join jsonb_array_elements_text(case when jsonb_typeof({{ kseflow.jsonb(json) }}) = 'array'
        then {{ kseflow.jsonb(json) }} end) with ordinality as texts (text, number)
{%- endmacro %}

{% macro spark__join_each_text(json) -%}
    lateral view posexplode(from_json({{ json }}, 'array<string>')) texts as number, text
{%- endmacro %}

{% macro spark__number_of_row() -%}
    texts.number + 1
{%- endmacro %}

{% macro bigquery__join_each_text(json) -%}
    cross join unnest(json_value_array({{ json }})) as text with offset as number
{%- endmacro %}

{% macro bigquery__text_of_row(json) -%}
    text
{%- endmacro %}

{% macro bigquery__number_of_row() -%}
    number + 1
{%- endmacro %}

{% macro snowflake__join_each_text(json) -%}
    cross join lateral flatten(input => parse_json({{ json }})) as texts
{%- endmacro %}

{% macro snowflake__text_of_row(json) -%}
    cast(texts.value as varchar)
{%- endmacro %}

{% macro snowflake__number_of_row() -%}
    texts.index + 1
{%- endmacro %}

{# Of the first hundred texts, for a warehouse that unnests no expression. #}
{% macro redshift__join_each_text(json) -%}
    inner join ({% for n in range(1, 101) %}select {{ n }} as number{{ ' union all ' if not loop.last }}{% endfor %}) as texts
        on texts.number <= json_array_length({{ json }}, true)
{%- endmacro %}

{% macro redshift__text_of_row(json) -%}
    json_extract_array_element_text({{ json }}, texts.number - 1, true)
{%- endmacro %}
