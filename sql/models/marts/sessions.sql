select * from {{ ref('compared_sessions') }}
