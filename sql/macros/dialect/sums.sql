{# Aggregates, and what is compared or joined row by row. #}

{% macro count_where(condition) -%}
    count(case when {{ condition }} then 1 end)
{%- endmacro %}

{% macro sum_where(value, condition) -%}
    sum(case when {{ condition }} then {{ value }} end)
{%- endmacro %}

{% macro any_where(condition) -%}
    max(case when {{ condition }} then 1 else 0 end) = 1
{%- endmacro %}

{# Columns for one part of a union: a filler for those that this part lacks. #}
{% macro filled(columns, lacking=[], filler='null') -%}
    {%- for column in columns -%}
        {{ filler ~ ' as ' if column in lacking }}{{ column }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{# Whether another relation has a row with the same values in the columns, which `outer` has too. #}
{% macro is_in(outer, relation, columns) -%}
    exists (
        select 1 from {{ relation }} as others where {% for column in columns -%}
            others.{{ column }} = {{ outer }}.{{ column }}{{ ' and ' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{# The value beside the greatest keys, of rows where neither is null and the condition holds. #}
{% macro latest_of(value, keys, condition='true', type='varchar') -%}
    {{ return(adapter.dispatch('latest_of', 'kseflow')(value, keys, condition, type)) }}
{%- endmacro %}

{% macro known_where(value, keys, condition) -%}
    ({{ condition }}) and {{ value }} is not null
    {%- for key in keys %} and {{ key }} is not null{% endfor %}
{%- endmacro %}

{% macro duckdb__latest_of(value, keys, condition, type) -%}
    arg_max({{ value }}, ({{ keys | join(', ') }})) filter (where {{ condition }})
{%- endmacro %}

{% macro postgres__latest_of(value, keys, condition, type) -%}
    (array_agg({{ value }} order by {{ keys | join(' desc, ') }} desc)
        filter (where {{ kseflow.known_where(value, keys, condition) }}))[1]
{%- endmacro %}

{% macro spark__latest_of(value, keys, condition, type) -%}
    max_by({{ value }}, struct({{ keys | join(', ') }}))
        filter (where {{ kseflow.known_where(value, keys, condition) }})
{%- endmacro %}

{% macro bigquery__latest_of(value, keys, condition, type) -%}
    array_agg(case when {{ kseflow.known_where(value, keys, condition) }} then {{ value }} end
        ignore nulls order by {{ keys | join(' desc, ') }} desc limit 1)[safe_offset(0)]
{%- endmacro %}

{% macro snowflake__latest_of(value, keys, condition, type) -%}
    cast(get(array_agg(case when {{ kseflow.known_where(value, keys, condition) }} then {{ value }} end)
        within group (order by {{ keys | join(' desc, ') }} desc), 0) as {{ kseflow.type(type) }})
{%- endmacro %}

{# The greatest of keys and value as one text, and the value cut off it again. #}
{% macro redshift__latest_of(value, keys, condition, type) -%}
    cast(substring(max(case when {{ kseflow.known_where(value, keys, condition) }} then
        {%- for key in keys %} rpad(cast({{ key }} as varchar(64)), 64) ||{% endfor %} cast({{ value }} as varchar(max))
        end), {{ 64 * keys | length + 1 }}) as {{ kseflow.type(type) }})
{%- endmacro %}

{# The value below which a share of the rows lie, between two rows in proportion; of a relation
   that is named by `with_percentiles`. #}
{% macro percentile(value, share) -%}
    {{ return(adapter.dispatch('percentile', 'kseflow')(value, share)) }}
{%- endmacro %}

{% macro default__percentile(value, share) -%}
    percentile_cont({{ share }}) within group (order by {{ value }})
{%- endmacro %}

{% macro with_percentiles(relation, groups, values, shares, condition='1 = 1') -%}
    {{ return(adapter.dispatch('with_percentiles', 'kseflow')(relation, groups, values, shares, condition)) }}
{%- endmacro %}

{% macro default__with_percentiles(relation, groups, values, shares, condition) -%}
    {{ return(relation) }}
{%- endmacro %}

{# An aggregate in a select may sort by one value only; windows may sort by several. #}
{% macro redshift__with_percentiles(relation, groups, values, shares, condition) -%}
    (
        select
            *
            {%- for value in values %}{% for share in shares %},
            percentile_cont({{ share }}) within group (order by {{ value }})
                over (partition by {{ groups }}) as {{ kseflow.percentile_name(value, share) }}
            {%- endfor %}{% endfor %}
        from {{ relation }}
        where {{ condition }}
    ) as with_percentiles
{%- endmacro %}

{% macro redshift__percentile(value, share) -%}
    max({{ kseflow.percentile_name(value, share) }})
{%- endmacro %}

{% macro percentile_name(value, share) -%}
    {{ value }}_at_{{ (share * 100) | int }}
{%- endmacro %}

{% macro bigquery__percentile(value, share) -%}
    {%- set sorted = 'array_agg(' ~ value ~ ' ignore nulls order by ' ~ value ~ ')' -%}
    {%- set place = share ~ ' * (count(' ~ value ~ ') - 1)' -%}
    {%- set below = sorted ~ '[safe_offset(cast(floor(' ~ place ~ ') as int64))]' -%}
    {%- set above = sorted ~ '[safe_offset(cast(ceil(' ~ place ~ ') as int64))]' -%}
    ({{ below }} + ({{ place }} - floor({{ place }})) * ({{ above }} - {{ below }}))
{%- endmacro %}

{# Short for a text that is compared for equality. #}
{% macro hash_of(columns) -%}
    {{ return(adapter.dispatch('hash_of', 'kseflow')(columns)) }}
{%- endmacro %}

{% macro duckdb__hash_of(columns) -%}
    hash({{ columns | join(', ') }})
{%- endmacro %}

{% macro postgres__hash_of(columns) -%}
    hashtextextended(cast(({{ columns | join(', ') }}) as text), 0)
{%- endmacro %}

{% macro spark__hash_of(columns) -%}
    xxhash64({{ columns | join(', ') }})
{%- endmacro %}

{% macro bigquery__hash_of(columns) -%}
    farm_fingerprint(to_json_string(struct({{ columns | join(', ') }})))
{%- endmacro %}

{% macro snowflake__hash_of(columns) -%}
    hash({{ columns | join(', ') }})
{%- endmacro %}

{% macro redshift__hash_of(columns) -%}
    fnv_hash({{ columns[0] }}{% for column in columns[1:] %}, fnv_hash({{ column }}{% endfor %}{{ ')' * (columns | length - 1) }})
{%- endmacro %}

{# As = and !=, where two nulls are the same. #}
{% macro same(one, other) -%}
    {{ return(adapter.dispatch('same', 'kseflow')(one, other)) }}
{%- endmacro %}

{% macro default__same(one, other) -%}
    {{ one }} is not distinct from {{ other }}
{%- endmacro %}

{% macro redshift__same(one, other) -%}
    coalesce({{ one }} = {{ other }}, {{ one }} is null and {{ other }} is null)
{%- endmacro %}

{% macro differ(one, other) -%}
    not ({{ kseflow.same(one, other) }})
{%- endmacro %}

{# The greatest or the least of the values that are not null. #}
{% macro greatest_of(values) -%}
    {{ return(adapter.dispatch('greatest_of', 'kseflow')(values, 'greatest', 'max')) }}
{%- endmacro %}

{% macro least_of(values) -%}
    {{ return(adapter.dispatch('greatest_of', 'kseflow')(values, 'least', 'min')) }}
{%- endmacro %}

{% macro default__greatest_of(values, function, aggregate) -%}
    {{ function }}({{ values | join(', ') }})
{%- endmacro %}

{% macro snowflake__greatest_of(values, function, aggregate) -%}
    {{ function }}_ignore_nulls({{ values | join(', ') }})
{%- endmacro %}

{% macro bigquery__greatest_of(values, function, aggregate) -%}
    (select {{ aggregate }}(value) from unnest([{{ values | join(', ') }}]) as value)
{%- endmacro %}
