{# A raw table, or an empty one with its columns while nothing was ever loaded into it. #}
{% macro raw(table) -%}
    {%- set relation = source('ksef_raw', table) -%}
    {%- if not execute or load_relation(relation) is not none -%}
        {{ relation }}
    {%- else -%}
        (
            select
            {%- for column in kseflow.source_columns(table) %}
                cast(null as {{ column.data_type }}) as {{ column.name }}
                {{- "," if not loop.last }}
            {%- endfor %}
            where false
        )
    {%- endif -%}
{%- endmacro %}

{% macro source_columns(table) -%}
    {%- for node in graph.sources.values() if node.source_name == 'ksef_raw' and node.name == table -%}
        {{ return(node.columns.values() | list) }}
    {%- endfor -%}
{%- endmacro %}
