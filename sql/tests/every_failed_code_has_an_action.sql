-- Whatever KSeF writes, even nothing: a code that the seeds call a failure leads to a category.
select
    statuses.status_code,
    count(categories.category) as category_count
from {{ ref('invoice_statuses') }} as statuses
left join {{ ref('failure_patterns') }} as patterns
    on statuses.status_code = patterns.status_code
    and regexp_matches('', patterns.pattern)
left join {{ ref('failure_categories') }} as categories
    on patterns.category = categories.category
    and categories.what_to_do is not null
where statuses.outcome not in ('accepted', 'pending')
group by 1
having count(categories.category) != 1
