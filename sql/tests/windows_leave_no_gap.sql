{{ config(severity='warn') }}

select * from {{ ref('package_windows') }} where relation = 'gap'
