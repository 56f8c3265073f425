{% set package = 'context_type, context_id, subject_type, package_reference_number' %}

with contradicting as (
    select ksef_number
    from {{ ref('stg_invoice_metadata') }}
    group by 1
    having min(currency) != max(currency)
        {%- for amount in ['net', 'vat', 'gross'] %}
        or min({{ amount }}_amount) != max({{ amount }}_amount)
        {%- endfor %}
),

odd as (
    select context_type, context_id, 'counts_differ' as kind, package_reference_number as example
    from {{ ref('package_contents') }}
    where invoice_count != metadata_count
    union all
    select context_type, context_id, 'rows_lost', package_reference_number
    from {{ ref('package_contents') }}
    where metadata_count > rows_in_window_count
    union all
    select context_type, context_id, 'rows_beyond_the_package', package_reference_number
    from {{ ref('package_contents') }}
    where metadata_count < rows_in_window_count - rows_on_border_count
    union all
    select distinct context_type, context_id, 'rows_outside_the_window', package_reference_number
    from {{ ref('stg_invoice_metadata') }} as exported
    inner join {{ ref('package_contents') }} as packages using ({{ package }})
    where exported.stored_at not between packages.requested_from and packages.next_from
    union all
    select distinct context_type, context_id, 'amounts_contradict', ksef_number
    from {{ ref('stg_invoice_metadata') }}
    where ksef_number in (select ksef_number from contradicting)
)

select
    context_type,
    context_id,
    kind,
    count(*) as odd_count,
    min(example) as example
from odd
group by context_type, context_id, kind
