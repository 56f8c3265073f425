"""What `kseflow check` looks for: one query over the published file each, and two thresholds."""

from dataclasses import dataclass
from math import inf

from kseflow.watch.queries import (
    CATCH_UP_SQL,
    CREDENTIALS_SQL,
    GAPS_SQL,
    LACKING_SQL,
    LEFT_OUT_SQL,
    LOAD_AGE_SQL,
    MISSING_EXPORTS_SQL,
    ODDITIES_SQL,
    RATE_SQL,
    REACH_SQL,
    RECENT_FAILURES_SQL,
    SESSIONS_SQL,
    TREND_SQL,
    TROUBLED_SQL,
    TROUBLES_SQL,
    WARNINGS_SQL,
)

RATE_DAYS = 7  # Warsaw days, the one of the copy included
MINIMUM_COUNT = 20  # invoices; a rate of fewer says nothing
RECENT_DAYS = 30  # as long as the models look for the file name of a failed invoice
NOT_ENOUGH = f"not judged: {{whole}} of at least {MINIMUM_COUNT} invoices"
GRACE_HOURS = 3  # the next loads read what changed shortly before the last one


@dataclass(frozen=True)
class Check:
    """One question: a `value` that reaches a threshold, from above if `is_low_bad`, is a finding.

    `finds` says what the value is, `says` is formatted with the query's row, `form` shows a value
    or a threshold. A taxpayer without a row has nothing of the kind: 0, or, where there is
    something to say of a value that nobody knows (`unjudged`), none. A negative age is critical.
    """

    name: str
    finds: str
    warning: float
    critical: float
    form: str
    says: str
    remedy: str
    sql: str
    unjudged: str = ""
    is_age: bool = False
    is_rate: bool = False
    is_low_bad: bool = False
    is_of_the_file: bool = False


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
        "hours since KSeF's list of sessions was last loaded whole, with the last trouble",
        3,
        24,
        ",.1f",
        "KSeF's list of sessions was last loaded {value:,.1f} hours ago{trouble}",
        "See why kseflow load fails or does not run; kseflow doctor helps",
        LOAD_AGE_SQL,
        is_age=True,
    ),
    Check(
        "load_troubles",
        "parts of the last load that failed, or that could not see everything",
        1,
        inf,
        ",.0f",
        "parts of the last load with trouble: {value:,} ({parts}); the last one: {example}",
        "Do what it says and load again; the copy may lack what these parts bring",
        TROUBLES_SQL,
    ),
    Check(
        "unlisted_days",
        "days of KSeF's history that the list of sessions does not reach back to",
        1,
        inf,
        ",.0f",
        "the list of sessions reaches back only to {begin}: {value:,.0f} days of KSeF's history "
        "before it are not here",
        "Load once without --since",
        REACH_SQL,
    ),
    Check(
        "published_age_hours",
        "hours since the file was published, or found to be up to date",
        3,
        24,
        ",.1f",
        "the analysts' file was published, or found to be up to date, {value:,.1f} hours ago",
        "See why kseflow build fails, or load with --build",
        "select epoch($now - looked_at) / 3600 as value from looked",
        is_age=True,
        is_of_the_file=True,
    ),
    Check(
        "credential_days_left",
        "days until the certificate or token of the login ends, as far as that is known",
        30,
        7,
        ",.1f",
        "the {credential} ends on {end_day}, in {value:,.1f} days{age}",
        "Make a new one before that; set token_ends_at where a token's end is another one",
        CREDENTIALS_SQL,
        "nobody knows when the login ends: set token_ends_at, or load once",
        is_low_bad=True,
    ),
    Check(
        "api_warnings",
        "texts that KSeF warned with in the last week (header X-System-Warning)",
        1,
        inf,
        ",.0f",
        "KSeF warned with {value:,} texts, since {since}; the last one: {example}",
        "See marts.api_warnings; KSeF announces changes and trouble this way",
        WARNINGS_SQL,
    ),
    Check(
        "failure_rate",
        f"failed of all decided invoices, the last {RATE_DAYS} Warsaw days",
        0.05,
        0.2,
        ".1%",
        f"{{value:.1%}}, {{part:,}} of {{whole:,}} invoices of the last {RATE_DAYS} days failed"
        "{note}",
        "See marts.failure_reasons for what they have in common",
        _rate_sql("failed_count", "decided_count", counters="from_counters_count"),
        NOT_ENOUGH,
        is_rate=True,
    ),
    Check(
        "first_pass_rate",
        f"accepted at the first try, the last {RATE_DAYS} Warsaw days (too low is bad); at best, "
        "while rows are still to come",
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
        NOT_ENOUGH,
        is_rate=True,
        is_low_bad=True,
    ),
    Check(
        "failure_trend",
        "1 if the failure rate got worse by more than chance",
        1,
        inf,
        ",.0f",
        "{sentence}",
        "See marts.anomalies for since when and because of what",
        TREND_SQL,
    ),
    Check(
        "unresolved_failures",
        f"failed invoices of the last {RECENT_DAYS} days that are not in KSeF by any sign, "
        "those of sessions that failed as a whole included",
        1,
        100,
        ",.0f",
        f"failed invoices of the last {RECENT_DAYS} days that are not in KSeF by any sign: "
        "{recent:,} (older ones: {older:,})",
        "Work through marts.unresolved_failures: it says who has to do what",
        RECENT_FAILURES_SQL.format(days=RECENT_DAYS, value="recent"),
    ),
    Check(
        "unresolved_age_days",
        "days since the oldest of these",
        3,
        inf,
        ",.1f",
        f"the oldest unresolved failure of the last {RECENT_DAYS} days is {{value:,.1f}} days old",
        "Begin with the first rows of marts.unresolved_failures",
        RECENT_FAILURES_SQL.format(days=RECENT_DAYS, value="oldest_days"),
        is_age=True,
    ),
    Check(
        "stuck_sessions",
        "sessions that hang in KSeF",
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
        f"sessions of the last {RATE_DAYS} days that failed as a whole, "
        "those closed empty left out",
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
        "packages that truncated exports still need, estimated",
        4,
        100,
        ",.0f",
        "packages needed to catch up, about: {value:,.0f}{subjects}",
        "Load more often or with more --exports-per-hour; if it does not fall, see marts.packages",
        CATCH_UP_SQL,
    ),
    Check(
        "package_gaps",
        "gaps between windows of packages that no other window spans",
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
        f"sessions unchanged for {GRACE_HOURS} hours that do not add up to KSeF's counters",
        1,
        100,
        ",.0f",
        f"sessions unchanged for {GRACE_HOURS} hours whose invoices here do not add up to KSeF's "
        "counters: {sessions:,} ({causes})",
        "Load again; if they stay, see marts.session_reconciliation",
        LACKING_SQL.format(grace_hours=GRACE_HOURS, value="sessions"),
    ),
    Check(
        "missing_invoices",
        "invoices that these lack",
        1,
        1000,
        ",.0f",
        f"invoices of sessions unchanged for {GRACE_HOURS} hours that are not here: {{invoices:,}}",
        "Load again; if they stay, see marts.session_reconciliation",
        LACKING_SQL.format(grace_hours=GRACE_HOURS, value="invoices"),
    ),
    Check(
        "troubled_readings",
        "sessions whose invoices or receipt could not be read the last time",
        1,
        100,
        ",.0f",
        "sessions whose invoices or receipt could not be read the last time: {value:,}; the last "
        "trouble was: {example}",
        "Load again: they are read anew, after the others; report what stays",
        TROUBLED_SQL,
    ),
    Check(
        "missing_exports",
        "accepted invoices that exports have passed over",
        1,
        1000,
        ",.0f",
        "accepted invoices that no package holds, though packages reach beyond: {value:,}",
        "Load once with --exports-from an earlier day; see marts.invoice_completeness",
        MISSING_EXPORTS_SQL,
    ),
    Check(
        "left_out",
        "1 if nothing of the taxpayer is published, because its rows break a test",
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
        "rows that the copy lost or that contradict each other",
        1,
        inf,
        ",.0f",
        "rows that this copy lost or that contradict each other: {value:,} in {kinds}",
        "See marts.oddities; load again, and report what stays",
        ODDITIES_SQL,
    ),
)
