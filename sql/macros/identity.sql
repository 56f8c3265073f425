{# Who and what an invoice is, wherever it was sent. #}

{# A company logs in by its NIP, or as one of its units: both identifiers begin with the NIP. #}
{% macro company_nip(context_id='context_id') -%}
    left({{ context_id }}, 10)
{%- endmacro %}

{# A KSeF number begins with the seller's NIP. #}
{% macro seller_of(ksef_number) -%}
    left({{ ksef_number }}, 10)
{%- endmacro %}

{# The seller that a refusal names, else the company that sent it. #}
{% macro seller_of_refused(reason) -%}
    coalesce(
        {{ kseflow.first_group(reason, kseflow.literal('NIP: ([0-9]{10})')) }},
        {{ kseflow.company_nip() }}
    )
{%- endmacro %}

{# Of a duplicate: the original as its extensions tell it, or its text where there are none. #}
{% macro original_ksef_number(extensions, details) -%}
    coalesce(
        {{ kseflow.json_value(extensions, '$.originalKsefNumber') }},
        {{ kseflow.first_group(
            details, kseflow.literal('([0-9]{10}-[0-9]{8}-[0-9A-F]{12}-[0-9A-F]{2})')) }}
    )
{%- endmacro %}

{% macro original_session(extensions, details) -%}
    coalesce(
        {{ kseflow.json_value(extensions, '$.originalSessionReferenceNumber') }},
        {{ kseflow.first_group(
            details, kseflow.literal('([0-9]{8}-[A-Z]{2}-[0-9A-F]{10}-[0-9A-F]{10}-[0-9A-F]{2})')) }}
    )
{%- endmacro %}

{# A text as programs write it into a file's name: FV/2026/1 is fv_2026_1. #}
{% macro as_file_name(text) -%}
    nullif({{ kseflow.all_replaced(kseflow.all_replaced(kseflow.lower_case(text), '[^0-9a-ząćęłńóśźż]+', '_'),
        '^_|_$', '') }}, '')
{%- endmacro %}

{# A file's name without its ending; null for one too plain to be a number, such as 1.xml. #}
{% macro file_stem(file_name) -%}
    case when length({{ file_name }}) >= 8 and {{ kseflow.is_match(file_name, kseflow.literal('[0-9]')) }}
        then {{ kseflow.as_file_name(kseflow.all_replaced(file_name, '[.][Xx][Mm][Ll]$', '')) }}
    end
{%- endmacro %}
