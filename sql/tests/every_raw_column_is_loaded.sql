{# A warning, with what an older load lacks: the models read it as null until the next load. #}
{{ config(severity='warn') }}

{% set found = [] -%}
{%- for node in (graph.sources.values() if execute else [])
    if node.source_name == 'ksef_raw' and node.package_name == 'kseflow' -%}
    {%- set lacking = kseflow.lacking_columns(node.name) -%}
    {%- if lacking -%}
        {%- do found.append((node.name, lacking | join(', '))) -%}
    {%- endif -%}
{%- endfor -%}

select table_name, lacking_columns, 'run kseflow load, which adds them' as what_to_do
from (
    select '' as table_name, '' as lacking_columns
    {%- for table, columns in found %}
    union all
    select '{{ table }}', '{{ columns }}'
    {%- endfor %}
) as tables
where table_name != ''
