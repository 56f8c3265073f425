select * from {{ ref('judged_details') }}
