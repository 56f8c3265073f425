select * from {{ ref('measured_packages') }}
