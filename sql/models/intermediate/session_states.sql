select
    sessions.*,
    statuses.meaning_en as meaning,
    {{ outcome_of('statuses.outcome', 'sessions.status_code') }} as outcome,
    {{ outcome_of('statuses.outcome', 'sessions.status_code') }} != 'pending' as is_terminal,
    coalesce(statuses.has_invoice_rows, true) as has_invoice_rows,
    coalesce(statuses.who_acts, 'accountant') as who_acts,
    coalesce(statuses.what_to_do, 'Read the status: kseflow does not know this code.') as what_to_do
from {{ ref('stg_sessions') }} as sessions
left join {{ ref('session_statuses') }} as statuses using (session_type, status_code)
