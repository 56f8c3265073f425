{# The columns together are a key. Groups by a hash first: a tenth of the memory of the texts. #}
{% test unique_combination(model, columns) %}
with suspects as (
    select {{ kseflow.hash_of(columns) }} as key_hash
    from {{ model }}
    group by 1
    having count(*) > 1
)

select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
where {{ kseflow.hash_of(columns) }} in (select key_hash from suspects)
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

{# A warning, with the rows: KSeF sends something that no column knows. #}
{% test is_empty(model, column_name) %}
{{ config(severity='warn') }}
select * from {{ model }} where {{ column_name }} is not null
{% endtest %}

{# dbt's own, but with the whole rows: they name the taxpayer whose rows they are. #}
{% test accepted_values(model, column_name, values, quote=true) %}
select *
from {{ model }}
where {{ column_name }} not in (
    {%- for value in values -%}
        {{ "'" ~ value ~ "'" if quote else value }}{{ ', ' if not loop.last }}
    {%- endfor -%}
)
{% endtest %}

{% test relationships(model, column_name, to, field) %}
select *
from {{ model }}
where {{ column_name }} is not null
    and {{ column_name }} not in (select {{ field }} from {{ to }} where {{ field }} is not null)
{% endtest %}

{# A warning, with the rows: the copy lost something or contradicts itself. #}
{% test no_faults(model) %}
{{ config(severity='warn') }}
select * from {{ model }} where is_fault
{% endtest %}
