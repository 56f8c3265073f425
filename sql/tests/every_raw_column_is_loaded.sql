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
    values (null, null)
    {%- for table, columns in found %}, ('{{ table }}', '{{ columns }}'){% endfor %}
) as tables (table_name, lacking_columns)
where table_name is not null
