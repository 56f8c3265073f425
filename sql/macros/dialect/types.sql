{# Types by the names that DuckDB gives them, as each warehouse writes them. #}

{% macro type(name) -%}
    {{ return(adapter.dispatch('type', 'kseflow')(name)) }}
{%- endmacro %}

{% macro default__type(name) -%}
    {{ return(name) }}
{%- endmacro %}

{% macro postgres__type(name) -%}
    {{ return({'double': 'double precision'}.get(name, name)) }}
{%- endmacro %}

{# A varchar without a length holds 256 bytes. #}
{% macro redshift__type(name) -%}
    {{ return({'double': 'double precision', 'varchar': 'varchar(max)'}.get(name, name)) }}
{%- endmacro %}

{% macro spark__type(name) -%}
    {{ return({'varchar': 'string', 'timestamp with time zone': 'timestamp',
        'float8': 'double'}.get(name, name)) }}
{%- endmacro %}

{% macro bigquery__type(name) -%}
    {{ return({'varchar': 'string', 'timestamp with time zone': 'timestamp', 'double': 'float64',
        'float8': 'float64',
        'bigint': 'int64', 'integer': 'int64', 'boolean': 'bool', 'decimal(18,2)': 'numeric',
        'decimal(38,2)': 'bignumeric'}.get(name, name)) }}
{%- endmacro %}

{% macro as_type(value, name) -%}
    {{ return(adapter.dispatch('as_type', 'kseflow')(value, name)) }}
{%- endmacro %}

{% macro default__as_type(value, name) -%}
    cast({{ value }} as {{ kseflow.type(name) }})
{%- endmacro %}

{# Texts are compared by their bytes, whatever the database's language. #}
{% macro postgres__as_type(value, name) -%}
    cast({{ value }} as {{ kseflow.type(name) }}){{ ' collate "C"' if name == 'varchar' }}
{%- endmacro %}

{% macro redshift__as_type(value, name) -%}
    {{ kseflow.default__as_type(value, name) }}
{%- endmacro %}

{% macro as_double(value) -%}
    {{ kseflow.as_type(value, 'double') }}
{%- endmacro %}

{# A text as a literal. #}
{% macro literal(text) -%}
    {{ return(adapter.dispatch('literal', 'kseflow')(text)) }}
{%- endmacro %}

{% macro default__literal(text) -%}
    {{ return("'" ~ text | replace("'", "''") ~ "'") }}
{%- endmacro %}

{# Where a backslash in a literal begins something. #}
{% macro redshift__literal(text) -%}
    {{ return("'" ~ text | replace("\\", "\\\\") | replace("'", "''") ~ "'") }}
{%- endmacro %}

{% macro snowflake__literal(text) -%}
    {{ return(kseflow.redshift__literal(text)) }}
{%- endmacro %}

{% macro spark__literal(text) -%}
    {{ return("'" ~ text | replace("\\", "\\\\") | replace("'", "\\'") ~ "'") }}
{%- endmacro %}

{% macro bigquery__literal(text) -%}
    {{ return(kseflow.spark__literal(text)) }}
{%- endmacro %}
