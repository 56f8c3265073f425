select * from {{ ref('judged_packages') }}
