{# Regular expressions: written so that RE2, Java and POSIX read them alike. No look-around, no \w
   beyond ASCII, and in our own patterns no group that does not capture: Snowflake knows none. #}

{# A pattern as a literal. #}
{% macro pattern_literal(pattern) -%}
    {{ return(adapter.dispatch('pattern_literal', 'kseflow')(pattern)) }}
{%- endmacro %}

{% macro default__pattern_literal(pattern) -%}
    {{ return(kseflow.literal(pattern)) }}
{%- endmacro %}

{% macro postgres__pattern_literal(pattern) -%}
    {{ return(kseflow.literal(modules.re.sub('\\\\x\\{([0-9A-F]{4})\\}', '\\\\u\\1', pattern))) }}
{%- endmacro %}

{% macro redshift__pattern_literal(pattern) -%}
    {{ return(kseflow.literal(pattern)) }}
{%- endmacro %}

{# The replacement names groups as \1. #}
{% macro all_replaced(text, pattern, replacement) -%}
    {{ return(adapter.dispatch('all_replaced', 'kseflow')(text, pattern, replacement)) }}
{%- endmacro %}

{% macro default__all_replaced(text, pattern, replacement) -%}
    regexp_replace({{ text }}, {{ kseflow.pattern_literal(pattern) }}, {{ kseflow.literal(replacement) }}, 'g')
{%- endmacro %}

{% macro bigquery__all_replaced(text, pattern, replacement) -%}
    regexp_replace({{ text }}, {{ kseflow.pattern_literal(pattern) }}, {{ kseflow.literal(replacement) }})
{%- endmacro %}

{% macro snowflake__all_replaced(text, pattern, replacement) -%}
    {{ kseflow.bigquery__all_replaced(text, pattern, replacement) }}
{%- endmacro %}

{% macro spark__all_replaced(text, pattern, replacement) -%}
    {{ kseflow.bigquery__all_replaced(text, pattern, replacement | replace('\\', '$')) }}
{%- endmacro %}

{% macro redshift__all_replaced(text, pattern, replacement) -%}
    regexp_replace({{ text }}, {{ kseflow.pattern_literal(pattern) }}, {{ kseflow.literal(replacement | replace('\\', '$')) }}, 1, 'p')
{%- endmacro %}

{# Whether a pattern, of any expression, is found in a text. #}
{% macro is_match(text, pattern) -%}
    {{ return(adapter.dispatch('is_match', 'kseflow')(text, pattern)) }}
{%- endmacro %}

{% macro duckdb__is_match(text, pattern) -%}
    regexp_matches({{ text }}, {{ pattern }})
{%- endmacro %}

{% macro postgres__is_match(text, pattern) -%}
    {{ text }} ~ {{ pattern }}
{%- endmacro %}

{% macro spark__is_match(text, pattern) -%}
    {{ text }} rlike {{ pattern }}
{%- endmacro %}

{% macro bigquery__is_match(text, pattern) -%}
    regexp_contains({{ text }}, {{ pattern }})
{%- endmacro %}

{% macro snowflake__is_match(text, pattern) -%}
    regexp_instr({{ text }}, {{ kseflow.capturing(pattern) }}, 1, 1, 0, {{ kseflow.case_of(pattern) }}) > 0
{%- endmacro %}

{% macro redshift__is_match(text, pattern) -%}
    regexp_instr({{ text }}, {{ pattern }}, 1, 1, 0, 'p') > 0
{%- endmacro %}

{# What the pattern's only capturing group found first; null for nothing. #}
{% macro first_group(text, pattern) -%}
    {{ return(adapter.dispatch('first_group', 'kseflow')(text, pattern)) }}
{%- endmacro %}

{% macro default__first_group(text, pattern) -%}
    nullif(regexp_extract({{ text }}, {{ pattern }}, 1), '')
{%- endmacro %}

{% macro postgres__first_group(text, pattern) -%}
    nullif((regexp_match({{ text }}, {{ pattern }}))[1], '')
{%- endmacro %}

{% macro bigquery__first_group(text, pattern) -%}
    nullif(regexp_extract({{ text }}, {{ pattern }}), '')
{%- endmacro %}

{% macro redshift__first_group(text, pattern) -%}
    nullif(regexp_substr({{ text }}, {{ pattern }}, 1, 1, 'pe'), '')
{%- endmacro %}

{% macro snowflake__first_group(text, pattern) -%}
    nullif(regexp_substr({{ text }}, {{ kseflow.capturing(pattern) }}, 1, 1,
        {{ kseflow.case_of(pattern) }} || 'e', {{ kseflow.group_of(pattern) }}), '')
{%- endmacro %}

{# Snowflake knows neither (?: nor (?i): the pattern without them, its case as a parameter, and
   the number that its only capturing group has then. #}
{% macro capturing(pattern) -%}
    replace(replace({{ pattern }}, '(?i)', ''), '(?:', '(')
{%- endmacro %}

{% macro case_of(pattern) -%}
    case when startswith({{ pattern }}, '(?i)') then 'i' else 'c' end
{%- endmacro %}

{% macro group_of(pattern) -%}
    regexp_count(
        substr(replace({{ pattern }}, '(?i)', ''), 1,
            regexp_instr(replace({{ pattern }}, '(?i)', ''), '[(]([^?]|$)')),
        '[(]')
{%- endmacro %}

{% macro lower_case(text) -%}
    {{ return(adapter.dispatch('lower_case', 'kseflow')(text)) }}
{%- endmacro %}

{% macro default__lower_case(text) -%}
    lower({{ text }})
{%- endmacro %}

{# In the locale C it leaves letters beyond ASCII as they are. #}
{% macro postgres__lower_case(text) -%}
    lower(translate({{ text }}, 'ĄĆĘŁŃÓŚŹŻ', 'ąćęłńóśźż'))
{%- endmacro %}

{# The texts that are not null, with commas between; null for none. #}
{% macro listed(texts) -%}
    nullif(substr({% for text in texts -%}
        coalesce(', ' || {{ text }}, ''){{ ' || ' if not loop.last }}
    {%- endfor %}, 3), '')
{%- endmacro %}
