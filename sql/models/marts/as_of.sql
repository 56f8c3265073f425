select * from {{ ref('copy_moment') }}
