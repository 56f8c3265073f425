{# A raw table with the columns that this version knows: a typed null for one that an older load
   did not have, no rows for a table that was never loaded into, and none of the taxpayers that
   kseflow_left_out names (type:identifier). #}
{% macro raw(table) -%}
    {%- set relation = source('ksef_raw', table) -%}
    {%- set loaded = load_relation(relation) if execute else none -%}
    {%- set lacking = kseflow.lacking_columns(table) -%}
    (
        select
        {%- for column in kseflow.source_columns(table) %}
            {% if loaded is none or column.name in lacking -%}
                {{ kseflow.as_type('null', column.data_type) }} as {{ column.name }}
            {%- else -%}
                {{ column.name }}
            {%- endif -%}
            {{ "," if not loop.last }}
        {%- endfor %}
        {% if loaded is none -%}
            where false
        {%- else -%}
            from {{ relation }}
            {%- if var('kseflow_left_out') %}
            where context_type || ':' || context_id not in (
                {%- for taxpayer in var('kseflow_left_out') -%}
                    {{ kseflow.literal(taxpayer) }}{{ ", " if not loop.last }}
                {%- endfor -%}
            )
            {%- endif %}
        {%- endif %}
    ) as {{ table }}
{%- endmacro %}

{% macro source_columns(table) -%}
    {%- for node in (graph.sources.values() if execute else [])
        if node.source_name == 'ksef_raw' and node.name == table -%}
        {{ return(node.columns.values() | list) }}
    {%- endfor -%}
    {{ return([]) }}
{%- endmacro %}

{# The names of the columns that a table has by its source and not in the database; none of a table
   that was never loaded into. #}
{% macro lacking_columns(table) -%}
    {%- set loaded = load_relation(source('ksef_raw', table)) if execute else none -%}
    {%- set there = adapter.get_columns_in_relation(loaded) | map(attribute='name') | list
        if loaded is not none else [] -%}
    {{ return(kseflow.source_columns(table) | map(attribute='name') | reject('in', there) | list
        if loaded is not none else []) }}
{%- endmacro %}
