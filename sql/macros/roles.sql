{# The taxpayer's part in an invoice, by what it was exported as. #}
{% macro roles() -%}
    {{ return({'seller': 'Subject1', 'buyer': 'Subject2', 'third_subject': 'Subject3',
        'authorized_subject': 'SubjectAuthorized'}) }}
{%- endmacro %}

{% macro role_of(subject_type) -%}
    case {{ subject_type }}
        {%- for role, name in kseflow.roles().items() %}
        when '{{ name }}' then '{{ role }}'
        {%- endfor %}
    end
{%- endmacro %}
