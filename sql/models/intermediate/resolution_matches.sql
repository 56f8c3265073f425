{% set number_reach = 24 * var('invoice_number_reach_days') %}
{% set file_reach = 24 * var('file_name_reach_days') %}
{% set near = 'accepted.submitted_at <= ' ~ hours_after('failures.submitted_at', number_reach)
    ~ ' and failures.submitted_at <= ' ~ hours_after('accepted.submitted_at', number_reach) %}
{% set same_seller = 'failures.seller_nip = accepted.seller_nip' %}
{% set one_number = 'coalesce(failures.invoice_number = accepted.invoice_number, true)' %}
{% set rules = {
    'technical_correction': ['invoice_hash', 'hash_of_corrected_invoice', same_seller],
    'invoice_hash': ['invoice_hash', 'invoice_hash', '1 = 1'],
    'invoice_number': ['invoice_number', 'invoice_number', same_seller ~ ' and ' ~ near],
    'file_name_is_number': ['file_stem', 'number_as_file_name',
        same_seller ~ ' and ' ~ near ~ ' and ' ~ one_number],
    'invoice_file_name': ['invoice_file_name', 'invoice_file_name',
        'accepted.submitted_at > failures.submitted_at and accepted.submitted_at <= '
        ~ hours_after('failures.submitted_at', file_reach) ~ ' and ' ~ one_number],
} %}
{% set names = ['file_name_is_number', 'invoice_file_name'] %}

with failures as (
    select *, {{ company_nip() }} as company_nip, {{ seller_of_refused('reason') }} as seller_nip,
        {{ file_stem('invoice_file_name') }} as file_stem
    from {{ ref('judged_submissions') }}
    where outcome not in ('accepted', 'pending')
),

-- Few of the accepted are like any failure: find these at once, and then by each rule.
alike as (
    select * from {{ ref('accepted_contents') }}
    where {% for ours, theirs, condition in rules.values() -%}
        {{ 'or ' if not loop.first }}{{ theirs }} in (select {{ ours }} from failures)
    {% endfor %}
),

{% for rule, (ours, theirs, condition) in rules.items() -%}
by_{{ rule }} as (
    {%- set same_name = '(ksef_number) over (partition by company_nip, ' ~ theirs ~ ')' %}
    select
        *,
        {{ 'min' ~ same_name if rule in names else 1 }} as min_number,
        {{ 'max' ~ same_name if rule in names else 1 }} as max_number
    from alike
    where {{ theirs }} in (select {{ ours }} from failures)
){{ ',' if not loop.last }}

{% endfor -%}
{%- for rule, (ours, theirs, condition) in rules.items() %}
{{ 'union all' if not loop.first }}
select
    failures.context_type, failures.context_id, failures.session_reference_number,
    failures.invoice_reference_number, failures.submitted_at as failed_at, '{{ rule }}' as rule,
    accepted.context_type as accepted_context_type, accepted.context_id as accepted_context_id,
    accepted.session_reference_number as accepted_in_session,
    accepted.invoice_reference_number as accepted_reference_number,
    accepted.ksef_number as accepted_ksef_number, accepted.submitted_at, accepted.accepted_at
from failures inner join by_{{ rule }} as accepted
    on failures.company_nip = accepted.company_nip and failures.{{ ours }} = accepted.{{ theirs }}
    and {{ condition }}
    -- A name that two accepted invoices bear, such as 1.xml, tells nothing.
    and accepted.min_number = accepted.max_number
{%- endfor %}
