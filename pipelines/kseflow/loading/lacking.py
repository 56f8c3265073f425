"""What the warehouse lacks, in SQL: KSeF's counters against the rows stored.

`*_SQL` with a table's name in braces runs where the rows are, in words that any warehouse
understands, and returns the sessions to follow: those that may lack something or be listed again.
`LACKING_SQL` says in DuckDB what these lack now.
"""

import pyarrow as pa

from kseflow.constants import ACCEPTED_STATUS_CODE, FINAL_STATUS_CODES, OPEN_STATUS_CODES
from kseflow.raw.arrow import COUNT, TEXT, TIME

# A session as KSeF told it last, what is stored of it, and how its last readings went.
LISTED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_type": TEXT,
        "reference_number": TEXT,
        "status_code": COUNT,
        "date_updated": TIME,
        "total_invoice_count": COUNT,
        "successful_invoice_count": COUNT,
        "failed_invoice_count": COUNT,
    }
)
FOLLOWED = pa.schema(
    [
        *LISTED,
        ("stored_count", pa.int64()),
        ("stored_accepted_count", pa.int64()),
        ("stored_failed_count", pa.int64()),
        ("unsettled_count", pa.int64()),
        ("stored_at", TIME),
        ("confirmed_count", pa.int64()),
        ("last_read_at", TIME),
        ("read_for", TIME),
        ("read_endpoint", TEXT),
        ("read_count", COUNT),
        ("read_error", TEXT),
        ("receipt_read_at", TIME),
        ("receipt_read_for", TIME),
        ("receipt_count", COUNT),
        ("receipt_error", TEXT),
    ]
)

UNSETTLED = f"""
    status_code not in {FINAL_STATUS_CODES}
    or (status_code = {ACCEPTED_STATUS_CODE} and permanent_storage_date is null)
"""

STORED_SQL = f"""
select
    context_type,
    context_id,
    session_reference_number,
    count(*) as stored_count,
    sum(case when status_code = {ACCEPTED_STATUS_CODE} then 1 else 0 end) as stored_accepted_count,
    sum(case when status_code > {ACCEPTED_STATUS_CODE} then 1 else 0 end) as stored_failed_count,
    sum(case when {UNSETTLED} then 1 else 0 end) as unsettled_count,
    max(read_at) as stored_at
from {{session_invoices}} as invoices
group by context_type, context_id, session_reference_number
"""

# Each table is committed on its own: a load that was cut off may have stored the failures of a
# session in one and not in the other. Then its rows are lost, and read again at once.
BOTH_STORED_SQL = f"""
select
    s.context_type,
    s.context_id,
    s.session_reference_number,
    s.stored_count,
    s.stored_accepted_count,
    case when coalesce(f.failed_count, 0) < s.stored_failed_count
        then coalesce(f.failed_count, 0) else s.stored_failed_count end as stored_failed_count,
    s.unsettled_count,
    case when coalesce(f.failed_count, 0) < s.stored_failed_count
        then null else s.stored_at end as stored_at
from ({STORED_SQL}) as s
left join (
    select context_type, context_id, session_reference_number, count(*) as failed_count
    from {{failed_invoices}} as failures
    group by context_type, context_id, session_reference_number
) as f
    on s.context_type = f.context_type
    and s.context_id = f.context_id
    and s.session_reference_number = f.session_reference_number
"""

# `{stored}` is one of the two above. Of the sessions that lack nothing only those that are open or
# changed since a list's `since` are followed: no list shows the others again.
FOLLOWED_SQL = f"""
select
    s.context_type,
    s.context_id,
    s.session_type,
    s.reference_number,
    s.status_code,
    s.date_updated,
    s.total_invoice_count,
    s.successful_invoice_count,
    s.failed_invoice_count,
    i.stored_count,
    i.stored_accepted_count,
    i.stored_failed_count,
    i.unsettled_count,
    i.stored_at,
    c.confirmed_count,
    r.read_at as last_read_at,
    r.session_date_updated as read_for,
    r.endpoint as read_endpoint,
    r.row_count as read_count,
    r.error as read_error,
    u.read_at as receipt_read_at,
    u.session_date_updated as receipt_read_for,
    u.row_count as receipt_count,
    u.error as receipt_error
from {{sessions}} as s
left join ({{stored}}) as i
    on s.context_type = i.context_type
    and s.context_id = i.context_id
    and s.reference_number = i.session_reference_number
left join (
    select context_type, context_id, session_reference_number, count(*) as confirmed_count
    from {{upo_documents}} as receipts
    group by context_type, context_id, session_reference_number
) as c
    on s.context_type = c.context_type
    and s.context_id = c.context_id
    and s.reference_number = c.session_reference_number
left join {{invoice_reads}} as r
    on s.context_type = r.context_type
    and s.context_id = r.context_id
    and s.reference_number = r.session_reference_number
left join {{upo_reads}} as u
    on s.context_type = u.context_type
    and s.context_id = u.context_id
    and s.reference_number = u.session_reference_number
{{of_lists}}
where
    s.status_code in {OPEN_STATUS_CODES}
    or s.total_invoice_count > coalesce(i.stored_count, 0)
    or s.successful_invoice_count > coalesce(i.stored_accepted_count, 0)
    or s.failed_invoice_count > coalesce(i.stored_failed_count, 0)
    or i.unsettled_count > 0
    {{or_unconfirmed}}
    {{or_since}}
"""
OR_UNCONFIRMED = f"""or (
        s.status_code = {ACCEPTED_STATUS_CODE}
        and s.successful_invoice_count > coalesce(c.confirmed_count, 0)
    )"""
OF_LISTS = """inner join (values {rows}) as w (context_type, context_id, session_type, since)
    on s.context_type = w.context_type
    and s.context_id = w.context_id
    and s.session_type = w.session_type"""
OR_SINCE = "or s.date_updated >= cast(w.since as timestamp with time zone)"

# The invoices that keep a session from being settled.
AWAITED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_reference_number": TEXT,
        "reference_number": TEXT,
    }
)

AWAITED_SQL = f"""
select context_type, context_id, session_reference_number, reference_number
from {{session_invoices}} as invoices
where {UNSETTLED}
"""

# Of one taxpayer's sessions of one type: the oldest, the oldest that is open, and how many
# changed of late.
LISTS_SQL = f"""
select
    context_type,
    context_id,
    session_type,
    min(date_created) as earliest,
    min(
        case when status_code in {OPEN_STATUS_CODES} and date_updated >= {{open_since}}
            then date_updated end
    ) as oldest_open,
    sum(case when date_updated >= {{swept_since}} then 1 else 0 end) as recent_count
from {{sessions}} as s
group by context_type, context_id, session_type
"""

REACH_SQL = """
select date_updated
from {sessions} as s
where
    context_type = {context_type}
    and context_id = {context_id}
    and session_type = {session_type}
    and date_updated >= {since}
order by date_updated desc
limit 1 offset {count}
"""

# One row per session that lacks something. A session is due
# - at once, when it was never read, changed since, its reading went wrong, or what was read then
#   is not stored, and when only its failures were read and all rows are wanted;
# - else when the age of the information has doubled; a session that lacks nothing but storage
#   dates or outcomes of single invoices (unsettled) is left alone after a week.
LACKING_SQL = f"""
with compared as (
    select
        s.* exclude (unsettled_count, confirmed_count),
        s.status_code in {OPEN_STATUS_CODES} as is_open,
        coalesce(s.unsettled_count, 0) as unsettled,
        greatest(s.failed_invoice_count - coalesce(s.stored_failed_count, 0), 0) as missing_failed,
        greatest(
            s.total_invoice_count - coalesce(s.stored_count, 0),
            s.successful_invoice_count - coalesce(s.stored_accepted_count, 0),
            0
        ) as missing_any,
        s.status_code = {ACCEPTED_STATUS_CODE} as has_receipt,
        s.status_code > {ACCEPTED_STATUS_CODE} and s.successful_invoice_count = 0 as is_refused,
        coalesce(s.confirmed_count, 0) as confirmed_count,
        greatest(
            s.successful_invoice_count
            - greatest(coalesce(s.stored_accepted_count, 0), coalesce(s.confirmed_count, 0)),
            0
        ) as missing_accepted,
        s.read_count > 0 and s.last_read_at > coalesce(s.stored_at, '-infinity') as is_lost,
        s.read_error is not null as went_wrong,
        case
            when s.receipt_read_at is null or s.date_updated > s.receipt_read_for
                or s.receipt_error is not null
                or s.receipt_count > coalesce(s.confirmed_count, 0)
                then s.date_updated
            else s.receipt_read_at + (s.receipt_read_at - s.date_updated)
        end as receipt_due_at
    from followed as s
    where
        s.total_invoice_count + s.failed_invoice_count > 0
        and ($context_type is null or s.context_type = $context_type)
        and ($context_id is null or s.context_id = $context_id)
),

wanted as (
    select
        *,
        is_open and not $all_of_open as is_failed_only,
        case
            when is_open and not $all_of_open then missing_failed
            else greatest(missing_failed, missing_any)
        end as missing_count,
        case when is_open and not $all_of_open then 0 else unsettled end as unsettled_count,
        case when is_open and not $all_of_open then 0 else missing_accepted end
            as missing_accepted_count,
        case
            when has_receipt then greatest(successful_invoice_count - confirmed_count, 0) else 0
        end as unconfirmed_count
    from compared
)

select
    context_type,
    context_id,
    reference_number,
    date_updated,
    total_invoice_count,
    successful_invoice_count,
    failed_invoice_count,
    is_failed_only,
    is_refused,
    missing_failed as missing_failed_count,
    missing_count,
    unsettled_count,
    missing_accepted_count,
    unconfirmed_count,
    case when unconfirmed_count > 0 then receipt_due_at end as receipt_due_at,
    case
        when missing_count = 0 and unsettled_count = 0 then null
        when last_read_at is null or date_updated > read_for or coalesce(is_lost, true)
            or went_wrong
            or (read_endpoint = 'failed' and not is_failed_only)
            then date_updated
        when missing_count = 0 and last_read_at - date_updated > $unsettled_reach then null
        else last_read_at + (last_read_at - date_updated)
    end as due_at
from wanted
where missing_count > 0 or unsettled_count > 0 or ($receipts and unconfirmed_count > 0)
order by coalesce(went_wrong, false), missing_failed = 0, missing_count = 0, date_updated,
    reference_number
"""
