-- Whatever KSeF writes, even nothing: a code that the seeds call a failure leads to an action.
select
    statuses.status_code,
    statuses.category
from {{ ref('invoice_statuses') }} as statuses
left join {{ ref('failure_categories') }} as categories using (category)
where statuses.outcome not in ('accepted', 'pending')
    and (categories.who_acts is null or categories.what_to_do is null)
