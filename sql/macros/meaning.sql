{# What counts as what; each is pinned by a unit test. #}

{# A code that the seeds do not know yet: below 200 in process, above 200 refused. #}
{% macro outcome_of(seed_outcome, status_code) -%}
    coalesce({{ seed_outcome }}, case when {{ status_code }} < 200 then 'pending' else 'rejected' end)
{%- endmacro %}

{% macro rate(numerator, denominator) -%}
    cast({{ numerator }} as double) / nullif({{ denominator }}, 0)
{%- endmacro %}

{# Take out what differs between equal mistakes: namespaces, values, numbers and quoted texts.
   A quoted name that could be an XML element's stays: it is the mistake itself. #}
{% macro normalised(message) -%}
    {%- set steps = [
        (" in namespace ''[^'']*''", ""),
        ("[a-z]+://[^ '']*/:?", ""),
        ("The value ''[^'']*''", "The value ''…''"),
        ("[0-9]{8}-[A-Z]{2}-[0-9A-F]{10}-[0-9A-F]{10}-[0-9A-F]{2}", "<reference>"),
        ("[0-9]{10}-[0-9]{8}-[0-9A-F]{12}-[0-9A-F]{2}", "<KSeF number>"),
        ("''([A-Za-z_][A-Za-z0-9_]*)''", "‹\\1›"),
        ("''[^'']*''|„[^”]*”|\"[^\"]*\"", "''…''"),
        ("[‹›]", "''"),
        ("\\b[0-9]([0-9.,/-]*[0-9])?\\b", "<number>"),
    ] -%}
    {%- set result = namespace(sql=message) -%}
    {%- for pattern, replacement in steps -%}
        {%- set result.sql = kseflow.all_replaced(result.sql, pattern, replacement) -%}
    {%- endfor -%}
    {{ result.sql }}
{%- endmacro %}
