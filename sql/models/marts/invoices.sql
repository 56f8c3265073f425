select * from {{ ref('judged_submissions') }}
