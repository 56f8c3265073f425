{% set session = 'context_type, context_id, session_type, session_reference_number' %}
{% set what = 'category_meaning, who_acts, what_to_do' %}

with sessions as (
    select * from {{ ref('compared_sessions') }}
),

single as (
    select
        {{ session }},
        case when basis = 'counters' then created_day else submitted_day end as day,
        category, normalised_message, failures.category_meaning, failures.who_acts,
        failures.what_to_do,
        case when coalesce(basis, 'open') = 'open' then 0 else 1 end as failed_count,
        submitted_at as failed_at,
        failures.reason as example_reason,
        invoice_reference_number as example_invoice
    from {{ ref('judged_failures') }} as failures
    left join sessions using ({{ session }})
),

-- What KSeF counts as failed without a row that says why: the session's code does, or the next load.
whole as (
    select
        {{ session }}, created_day as day,
        categories.category,
        case when session_failed_count > 0
            then {{ normalised('coalesce(reason, status_description)') }}
            else categories.meaning_en end as normalised_message,
        case when session_failed_count > 0 then coalesce(sessions.meaning, categories.meaning_en)
            else categories.meaning_en end as category_meaning,
        case when session_failed_count > 0 then sessions.who_acts else categories.who_acts end
            as who_acts,
        case when session_failed_count > 0 then sessions.what_to_do else categories.what_to_do end
            as what_to_do,
        session_failed_count + unclassified_failed_count as failed_count,
        created_at as failed_at,
        coalesce(reason, status_description) as example_reason,
        null as example_invoice
    from sessions
    inner join {{ ref('failure_categories') }} as categories
        on categories.category
            = case when session_failed_count > 0 then 'session_failed' else 'not_read_yet' end
    where session_failed_count + unclassified_failed_count > 0
)

select
    {{ session }}, day, category, normalised_message, {{ what }},
    cast(sum(failed_count) as bigint) as failed_count,
    cast({{ count_where('failed_count = 0') }} as bigint) as open_failed_count,
    min(failed_at) as first_at,
    max(failed_at) as last_at,
    min(example_reason) as example_reason,
    min(example_invoice) as example_invoice
from (select * from single union all select * from whole) as counted
group by {{ session }}, day, category, normalised_message, {{ what }}
