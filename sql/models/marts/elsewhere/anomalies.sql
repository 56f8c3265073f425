-- In a warehouse other than DuckDB `kseflow build --destination` fills it when dbt is done.
select
    {%- for column in model.columns.values() %}
    {{ as_type('null', column.data_type) }} as {{ column.name }}{{ ',' if not loop.last }}
    {%- endfor %}
from (select 1 as nothing) as nothing
where 1 = 0
