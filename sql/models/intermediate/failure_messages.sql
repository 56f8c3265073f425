-- Few messages differ once they are normalised, so each is parsed once and not once per invoice.
with messages as (
    select distinct
        status_code,
        detail as message
    from {{ ref('listed_details') }}
),

normalised as (
    select
        *,
        coalesce(nullif({{ normalised('message') }}, ''), 'KSeF gave no reason')
            as normalised_message
    from messages
),

kinds as (
    select distinct
        status_code,
        normalised_message
    from normalised
),

matches as (
    select
        kinds.*,
        coalesce(patterns.category, statuses.category, 'unknown') as category,
        {{ first_group('kinds.normalised_message', 'patterns.pattern') }} as xml_element,
        patterns.xml_rule,
        coalesce(patterns.specificity, case when statuses.category is null then 0 else 2 end)
            as specificity,
        row_number() over (
            partition by kinds.status_code, kinds.normalised_message order by patterns.priority
        ) as place
    from kinds
    left join {{ ref('invoice_statuses') }} as statuses
        on kinds.status_code = statuses.status_code
    left join {{ ref('failure_patterns') }} as patterns
        on kinds.status_code = patterns.status_code
        and {{ is_match('kinds.normalised_message', 'patterns.pattern') }}
)

select
    status_code, normalised_message, normalised.message,
    matches.category, matches.xml_element, matches.xml_rule, matches.specificity
from normalised
inner join matches using (status_code, normalised_message)
where matches.place = 1
