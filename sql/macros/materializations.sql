{# dbt's own build under a second name, rename twice and drop: safe for readers, of whom a load
   database has none. These replace in one transaction, for a third of the time. #}

{% materialization table, adapter='duckdb', supported_languages=['sql', 'python'] %}
    {%- set relation = this.incorporate(type='table') -%}
    {{ kseflow.drop_for(relation) }}
    {%- call statement('main', language=model.language) -%}
        {{ create_table_as(false, relation, compiled_code, model.language) }}
    {%- endcall -%}
    {{ kseflow.finish(relation) }}
    {{ return({'relations': [relation]}) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {%- set relation = this.incorporate(type='view') -%}
    {{ kseflow.drop_for(relation) }}
    {%- call statement('main') -%}
        {{ create_view_as(relation, sql) }}
    {%- endcall -%}
    {{ kseflow.finish(relation) }}
    {{ return({'relations': [relation]}) }}
{% endmaterialization %}

{% macro drop_for(relation) -%}
    {%- set existing = load_cached_relation(relation) -%}
    {%- if existing is not none -%}
        {%- call statement('drop') -%} drop {{ existing.type }} {{ relation }} {%- endcall -%}
        {%- if model.language == 'python' -%} {# which writes in a transaction of its own #}
            {{ adapter.commit() }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro finish(relation) -%}
    {%- do persist_docs(relation, model) -%}
    {{ adapter.commit() }}
{%- endmacro %}

{% macro duckdb__alter_column_comment(relation, columns) -%}
    {%- for name in columns %}
    comment on column {{ relation }}.{{ name }} is
        {{ duckdb_escape_comment(columns[name]['description']) }};
    {%- endfor -%}
{%- endmacro %}
