"""What `kseflow check` looks for: one query over the published file each, and two thresholds.

Each query returns at most a row per taxpayer, with the measured `value` and what the sentence
names. `now` is the moment of the check; ages of what KSeF told are counted to `as_of`, so that a
copy that is late alarms once, by its age.
"""

from dataclasses import dataclass
from math import inf

RATE_DAYS = 7  # Warsaw days, the one of the copy included
MINIMUM_COUNT = 20  # invoices; a rate of fewer says nothing
RECENT_DAYS = 30  # as long as the models look for the file name of a failed invoice
GRACE_HOURS = 3  # the next loads read what changed shortly before the last one


@dataclass(frozen=True)
class Check:
    """One question: a `value` that reaches a threshold, from above if `is_low_bad`, is a finding.

    `says` is formatted with the query's row, `form` shows a value or a threshold. A taxpayer
    without a row has nothing of the kind: 0, or no rate.
    """

    name: str
    warning: float
    critical: float
    form: str
    says: str
    remedy: str
    sql: str
    is_rate: bool = False
    is_low_bad: bool = False
    is_of_the_file: bool = False


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

RECENT_FAILURES_SQL = f"""
select
    context_type, context_id,
    coalesce(sum(invoice_count) filter (where age_days <= {RECENT_DAYS}), 0) as recent,
    sum(invoice_count) - recent as older,
    coalesce(max(age_days) filter (where age_days <= {RECENT_DAYS}), 0) as oldest_days,
    {{value}} as value
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
LACKING_SQL = f"""
select
    context_type, context_id,
    count(distinct session_reference_number) as sessions,
    coalesce(sum(greatest(difference_count, 0)) filter (where counter = 'total'), 0) as invoices,
    string_agg(distinct likely_cause, ', ') as causes,
    {{value}} as value
from marts.session_reconciliation
where
    likely_cause not in ('session_open', 'session_failed_as_whole')
    and coalesce(
        updated_at < (select as_of from marts.as_of) - interval '{GRACE_HOURS} hours', true
    )
group by all
"""

# A taxpayer whose login fails is in no mart, only in the log of its loads.
LOAD_AGE_SQL = """
with listed as (
    select
        context_type, context_id,
        part,
        coalesce(max(ended_at) filter (where outcome in ('ok', 'warning')), min(started_at))
            as listed_at
    from staging.stg_sync_log
    where part in ('login', 'sessions_online', 'sessions_batch')
    group by all
),

troubles as (
    select context_type, context_id, max_by((message, ended_at), ended_at) as last
    from staging.stg_sync_log
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


def _rate_sql(
    part: str, whole: str, *, unknown: str = "0", doubtful: str = "0", counters: str = "0"
) -> str:
    return RATE_SQL.format(
        part=part,
        whole=whole,
        unknown=unknown,
        doubtful=doubtful,
        counters=counters,
        minimum=MINIMUM_COUNT,
        days=RATE_DAYS,
    )


CHECKS = (
    Check(
        "load_age_hours",
        3,
        24,
        ",.1f",
        "KSeF's list of sessions was last loaded {value:,.1f} hours ago{trouble}",
        "See why kseflow load fails or does not run; kseflow doctor helps",
        LOAD_AGE_SQL,
    ),
    Check(
        "published_age_hours",
        3,
        24,
        ",.1f",
        "the analysts' file was published {value:,.1f} hours ago",
        "See why kseflow build fails, or load with --build",
        "select epoch($now - published_at) / 3600 as value from published",
        is_of_the_file=True,
    ),
    Check(
        "failure_rate",
        0.05,
        0.2,
        ".1%",
        f"{{value:.1%}}, {{part:,}} of {{whole:,}} invoices of the last {RATE_DAYS} days failed"
        "{note}",
        "See marts.failure_reasons for what they have in common",
        _rate_sql("failed_count", "decided_count", counters="from_counters_count"),
        is_rate=True,
    ),
    Check(
        "first_pass_rate",
        0.9,
        0.7,
        ".1%",
        f"{{bound}}{{value:.1%}}, {{part:,}} of {{whole:,}} invoices of the last {RATE_DAYS} days "
        "got in at the first try{note}",
        "See marts.failure_reasons for what keeps the others out",
        _rate_sql(
            "first_pass_count",
            "first_attempt_count",
            unknown="unread_attempt_count",
            doubtful="doubtful_failure_count",
        ),
        is_rate=True,
        is_low_bad=True,
    ),
    Check(
        "failure_trend",
        1,
        inf,
        ",.0f",
        "{sentence}",
        "See marts.anomalies for since when and because of what",
        TREND_SQL,
    ),
    Check(
        "unresolved_failures",
        1,
        100,
        ",.0f",
        f"failed invoices of the last {RECENT_DAYS} days that are not in KSeF by any sign: "
        "{recent:,} (older ones: {older:,})",
        "Work through marts.unresolved_failures: it says who has to do what",
        RECENT_FAILURES_SQL.format(value="recent"),
    ),
    Check(
        "unresolved_age_days",
        3,
        inf,
        ",.1f",
        f"the oldest unresolved failure of the last {RECENT_DAYS} days is {{value:,.1f}} days old",
        "Begin with the first rows of marts.unresolved_failures",
        RECENT_FAILURES_SQL.format(value="oldest_days"),
    ),
    Check(
        "stuck_sessions",
        1,
        10,
        ",.0f",
        "sessions that hang in KSeF: {value:,}, invoices in them: {invoices:,}; the oldest is "
        "{example}",
        "See is_stuck in marts.sessions; report them to KSeF if they stay",
        SESSIONS_SQL.format(where="is_stuck"),
    ),
    Check(
        "failed_sessions",
        1,
        10,
        ",.0f",
        f"sessions of the last {RATE_DAYS} days that failed as a whole, none of their invoices got "
        "in: {value:,}; the oldest is {example}",
        "See is_failed_as_whole in marts.sessions: what_to_do says how to send again",
        SESSIONS_SQL.format(
            where=f"is_failed_as_whole and not is_closed_empty and age_s < {RATE_DAYS} * 86400"
        ),
    ),
    Check(
        "exports_to_catch_up",
        4,
        100,
        ",.0f",
        "packages needed to catch up, about: {value:,.0f}{subjects}",
        "Load more often or with more --exports-per-hour; if it does not fall, see marts.packages",
        CATCH_UP_SQL,
    ),
    Check(
        "package_gaps",
        1,
        10,
        ",.0f",
        "gaps between the windows of packages: {value:,} as {subjects}, {seconds:,.1f} s together",
        "Invoices stored in them may be missing: see marts.package_windows and "
        "missing_export_count in marts.invoice_completeness",
        GAPS_SQL,
    ),
    Check(
        "incomplete_sessions",
        1,
        100,
        ",.0f",
        f"sessions unchanged for {GRACE_HOURS} hours whose invoices here do not add up to KSeF's "
        "counters: {sessions:,} ({causes})",
        "Load again; if they stay, see marts.session_reconciliation",
        LACKING_SQL.format(value="sessions"),
    ),
    Check(
        "missing_invoices",
        1,
        1000,
        ",.0f",
        f"invoices of sessions unchanged for {GRACE_HOURS} hours that are not here: {{invoices:,}}",
        "Load again; if they stay, see marts.session_reconciliation",
        LACKING_SQL.format(value="invoices"),
    ),
    Check(
        "left_out",
        1,
        1,
        ",.0f",
        "nothing of this taxpayer is published, for its rows break a promise of the marts: "
        "{reason}",
        "Look at the rows shown, or report them; a build takes the taxpayer in again by itself",
        LEFT_OUT_SQL,
    ),
    Check(
        "odd_rows",
        1,
        inf,
        ",.0f",
        "rows that this copy lost or that contradict each other: {value:,} in {kinds}",
        "See marts.oddities; load again, and report what stays",
        ODDITIES_SQL,
    ),
)
