"""The queries of `kseflow check` over the published file.

Each returns at most a row per taxpayer, with the measured `value` and what the sentence names.
`now` is the moment of the check; `looked` and `later_log` are what `marts/look.py` adds. Ages of
what KSeF told are counted to `as_of`, so that a copy that is late alarms once, by its age. What
stands in braces the checks fill in.
"""

from kseflow.constants import KSEF_BEGINS

# While rows are still to come the best case counts: a rate is judged by what is certain.
RATE_SQL = """
select
    context_type, context_id,
    cast(sum({part}) as bigint) as part,
    cast(sum({whole}) as bigint) as whole,
    cast(sum({unknown}) as bigint) as unknown,
    cast(sum({doubtful}) as bigint) as doubtful,
    cast(sum({counters}) as bigint) as counters,
    case when unknown + doubtful > 0 then 'at most ' else '' end as bound,
    case when unknown + doubtful > 0 then ' (' || unknown + doubtful || ' are not known yet)'
        when counters > 0 then ' (' || counters || ' known by KSeF''s counters alone)'
        else '' end as note,
    case when whole + unknown >= {minimum}
        then (part + unknown) / (whole + unknown - doubtful) end as value
from marts.daily_outcomes
where day > (select as_of_day from marts.as_of) - {days}
group by all
"""

RECENT_FAILURES_SQL = """
select
    context_type, context_id,
    coalesce(sum(invoice_count) filter (where age_days <= {days}), 0) as recent,
    sum(invoice_count) - recent as older,
    coalesce(max(age_days) filter (where age_days <= {days}), 0) as oldest_days,
    {value} as value
from marts.unresolved_failures
where category != 'not_read_yet'
group by all
"""

LEFT_OUT_SQL = """
select taxpayer.context_type, taxpayer.context_id, taxpayer.reason, 1 as value
from (
    select unnest(from_json(
        left_out,
        '[{"context_type": "VARCHAR", "context_id": "VARCHAR", "reason": "VARCHAR"}]'
    )) as taxpayer
    from published
)
"""

TREND_SQL = """
select
    context_type, context_id,
    case when verdict = 'worse' then 1 else 0 end as value,
    rtrim(sentence, '.') as sentence
from marts.anomalies
where kind = 'headline' and context_id is not null
"""

ODDITIES_SQL = """
select
    context_type, context_id,
    sum(row_count) as value,
    string_agg(kind || ' (' || example || ')', ', ' order by kind) as kinds
from marts.oddities
where is_fault
group by all
"""

SESSIONS_SQL = """
select
    context_type, context_id,
    count(*) as value,
    sum(invoice_count) as invoices,
    arg_min(session_reference_number, created_at) as example
from marts.sessions
where {where}
group by all
"""

# Of a session that failed as a whole KSeF keeps no invoices.
LACKING_SQL = """
select
    context_type, context_id,
    count(distinct session_reference_number) as sessions,
    coalesce(sum(greatest(difference_count, 0)) filter (where counter = 'total'), 0) as invoices,
    string_agg(distinct likely_cause, ', ') as causes,
    {value} as value
from marts.session_reconciliation
where
    likely_cause not in ('session_open', 'session_failed_as_whole')
    and coalesce(
        updated_at < (select as_of from looked) - interval '{grace_hours} hours', true
    )
group by all
"""

# A taxpayer whose login fails is in no mart, only in the log of its loads.
LOAD_AGE_SQL = """
with log as (
    select context_type, context_id, part, outcome, message, started_at, ended_at
    from staging.stg_sync_log
    union all
    select * from later_log
),

listed as (
    select
        context_type, context_id,
        part,
        coalesce(max(ended_at) filter (where outcome in ('ok', 'warning')), min(started_at))
            as listed_at
    from log
    where part in ('login', 'sessions_online', 'sessions_batch')
    group by all
),

troubles as (
    select context_type, context_id, max_by((message, ended_at), ended_at) as last
    from log
    where outcome = 'failed'
    group by all
)

select
    context_type, context_id,
    epoch($now - min(listed_at)) / 3600 as value,
    case
        when any_value(last[2]) >= min(listed_at)
            then '; the last trouble was: ' || left(any_value(last[1]), 300)
        else ''
    end as trouble
from listed
left join troubles using (context_type, context_id)
group by all
"""

# What went wrong in the newest load of each part that came to an end.
TROUBLES_SQL = """
with newest as (
    select *
    from staging.stg_sync_log
    where outcome != 'out of time'
    qualify row_number() over (
        partition by context_type, context_id, part order by ended_at desc
    ) = 1
)

select
    context_type, context_id,
    count(*) as value,
    string_agg(part, ', ' order by part) as parts,
    left(max_by(coalesce(message, ''), ended_at), 300) as example
from newest
where outcome in ('failed', 'warning')
group by all
"""

MISSING_EXPORTS_SQL = """
select
    context_type, context_id,
    cast(sum(missing_export_count) as bigint) as value
from marts.invoice_completeness
group by all
"""

TROUBLED_SQL = """
with readings as (
    select context_type, context_id, session_reference_number, error, read_at
    from staging.stg_invoice_reads
    union all
    select context_type, context_id, session_reference_number, error, read_at
    from staging.stg_upo_reads
)

select
    context_type, context_id,
    count(distinct session_reference_number) as value,
    left(max_by(error, read_at), 300) as example
from readings
where error is not null
group by all
"""

REACH_SQL = f"""
with reached as (
    select
        context_type, context_id, part,
        max_by(reaches_back_to, run_id) as reaches
    from staging.stg_sync_log
    where part in ('sessions_online', 'sessions_batch')
    group by all
)

select
    context_type, context_id,
    coalesce(date_diff('day', timestamptz '{KSEF_BEGINS.isoformat()}', max(reaches)), 0) as value,
    strftime(max(reaches) at time zone 'Europe/Warsaw', '%Y-%m-%d') as begin
from reached
group by all
"""

# Of each login's newest load; what nobody knows the end of is not judged.
CREDENTIALS_SQL = """
select
    context_type, context_id,
    max_by(credential, ended_at) as credential,
    max_by(credential_ends_at, ended_at) as ends_at,
    max_by(credential_issued_at, ended_at) as issued_at,
    strftime(ends_at at time zone 'Europe/Warsaw', '%Y-%m-%d') as end_day,
    coalesce(', made ' || date_diff('day', issued_at, $now) || ' days ago', '') as age,
    epoch(ends_at - $now) / 86400 as value
from staging.stg_sync_log
where credential_ends_at is not null
group by all
"""

# Of the last week, so that what KSeF no longer says falls silent.
WARNINGS_SQL = """
select
    context_type, context_id,
    count(distinct message) as value,
    left(max_by(message, last_seen_at), 300) as example,
    strftime(min(first_seen_at) at time zone 'Europe/Warsaw', '%Y-%m-%d') as since
from marts.api_warnings
where last_seen_at > (select as_of from marts.as_of) - interval '7 days'
group by all
"""

CATCH_UP_SQL = """
with last_packages as (
    select context_type, context_id, subject_type, exports_to_catch_up
    from marts.packages
    where is_effectively_truncated is not null
    qualify row_number() over (
        partition by context_type, context_id, subject_type order by requested_at desc
    ) = 1
)

select
    context_type, context_id,
    sum(coalesce(exports_to_catch_up, 1)) as value,
    coalesce(
        ' as ' || string_agg(subject_type, ', ' order by subject_type)
            filter (where exports_to_catch_up is distinct from 0),
        ''
    ) as subjects
from last_packages
group by all
"""

# A gap is none when another window spans it.
GAPS_SQL = """
with gaps as (
    select *, cast(previous_next_from_text as timestamptz) as gap_from
    from marts.package_windows
    where relation = 'gap'
)

select
    context_type, context_id,
    count(*) as value,
    sum(difference_seconds) as seconds,
    string_agg(distinct subject_type, ', ') as subjects
from gaps
where not exists (
    from marts.package_windows as other
    where (other.context_type, other.context_id, other.subject_type)
        = (gaps.context_type, gaps.context_id, gaps.subject_type)
        and other.requested_from <= gap_from
        and other.next_from >= gaps.requested_from
)
group by all
"""
