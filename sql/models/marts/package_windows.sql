select * from {{ ref('joined_windows') }}
