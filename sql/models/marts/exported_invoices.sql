select * from {{ ref('distinct_invoices') }}
