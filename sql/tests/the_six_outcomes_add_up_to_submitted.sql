select *
from {{ ref('daily_outcomes') }}
where submitted_count != accepted_count + rejected_count + duplicate_count + system_error_count
    + cancelled_count + pending_count
    or decided_count != accepted_count + failed_count
    or first_pass_count not between 0 and accepted_count
    or first_attempt_count not between first_pass_count and decided_count
    or success_rate not between 0 and 1
