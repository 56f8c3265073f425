select * from {{ ref('named_taxpayers') }}
