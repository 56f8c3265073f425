select * from {{ ref('judged_failures') }}
