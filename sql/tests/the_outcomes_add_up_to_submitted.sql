select *
from {{ ref('daily_outcomes') }}
where submitted_count != accepted_count + failed_count + pending_count + unaccounted_count
    or failed_count != rejected_count + duplicate_count + system_error_count + cancelled_count
        + session_failed_count + unclassified_failed_count - uncounted_failed_count
    or decided_count != accepted_count + failed_count
    or from_counters_count not between session_failed_count + unclassified_failed_count
        and decided_count
    or undated_count > from_counters_count
    or first_pass_count not between 0 and accepted_count
    or first_attempt_count not between first_pass_count and decided_count
    or first_pass_rate_7d not between lowest_first_pass_rate_7d and highest_first_pass_rate_7d
    or success_rate not between 0 and 1
