"""What the warehouse lacks, in SQL: KSeF's counters against the rows stored.

`*_SQL` with a table's name in braces runs where the rows are, in words that any warehouse
understands; `LACKING_SQL` compares what they and the raw tables gave, in DuckDB.
"""

import pyarrow as pa

from kseflow.constants import ACCEPTED_STATUS_CODE, FINAL_STATUS_CODES, OPEN_STATUS_CODES
from kseflow.raw.arrow import TEXT, TIME

STORED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_reference_number": TEXT,
        "stored_count": pa.int64(),
        "stored_accepted_count": pa.int64(),
        "stored_failed_count": pa.int64(),
        "unsettled_count": pa.int64(),
        "stored_at": TIME,
    }
)

# Plain SQL that any warehouse understands; it runs where the rows are.
STORED_SQL = f"""
select
    context_type,
    context_id,
    session_reference_number,
    count(*) as stored_count,
    sum(case when status_code = {ACCEPTED_STATUS_CODE} then 1 else 0 end) as stored_accepted_count,
    sum(case when status_code > {ACCEPTED_STATUS_CODE} then 1 else 0 end) as stored_failed_count,
    sum(
        case
            when status_code not in {FINAL_STATUS_CODES} then 1
            when status_code = {ACCEPTED_STATUS_CODE} and permanent_storage_date is null then 1
            else 0
        end
    ) as unsettled_count,
    max(read_at) as stored_at
from {{session_invoices}}
group by 1, 2, 3
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
    from {{failed_invoices}}
    group by 1, 2, 3
) as f
    on s.context_type = f.context_type
    and s.context_id = f.context_id
    and s.session_reference_number = f.session_reference_number
"""

CONFIRMED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_reference_number": TEXT,
        "confirmed_count": pa.int64(),
    }
)

CONFIRMED_SQL = """
select context_type, context_id, session_reference_number, count(*) as confirmed_count
from {upo_documents}
group by 1, 2, 3
"""

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
from {{session_invoices}}
where status_code not in {FINAL_STATUS_CODES}
    or (status_code = {ACCEPTED_STATUS_CODE} and permanent_storage_date is null)
"""

# One row per session that lacks something. A session is due
# - at once, when it was never read, changed since, its reading went wrong, or what was read then
#   is not stored, and when only its failures were read and all rows are wanted;
# - else when the age of the information has doubled; a session that lacks nothing but storage
#   dates or outcomes of single invoices (unsettled) is left alone after a week.
LACKING_SQL = f"""
with compared as (
    select
        s.*,
        s.status_code in {OPEN_STATUS_CODES} as is_open,
        coalesce(i.unsettled_count, 0) as unsettled,
        greatest(s.failed_invoice_count - coalesce(i.stored_failed_count, 0), 0) as missing_failed,
        greatest(
            s.total_invoice_count - coalesce(i.stored_count, 0),
            s.successful_invoice_count - coalesce(i.stored_accepted_count, 0),
            0
        ) as missing_any,
        s.status_code = {ACCEPTED_STATUS_CODE} as has_receipt,
        s.status_code > {ACCEPTED_STATUS_CODE} and s.successful_invoice_count = 0 as is_refused,
        coalesce(c.confirmed_count, 0) as confirmed_count,
        greatest(
            s.successful_invoice_count
            - greatest(coalesce(i.stored_accepted_count, 0), coalesce(c.confirmed_count, 0)),
            0
        ) as missing_accepted,
        r.read_at as last_read_at,
        r.session_date_updated as read_for,
        r.endpoint as read_endpoint,
        r.row_count > 0 and r.read_at > coalesce(i.stored_at, '-infinity') as is_lost,
        r.error is not null as went_wrong,
        case
            when u.read_at is null or s.date_updated > u.session_date_updated
                or u.error is not null
                or u.row_count > coalesce(c.confirmed_count, 0)
                then s.date_updated
            else u.read_at + (u.read_at - s.date_updated)
        end as receipt_due_at
    from sessions as s
    left join stored as i
        on s.context_type = i.context_type
        and s.context_id = i.context_id
        and s.reference_number = i.session_reference_number
    left join invoice_reads as r
        on s.context_type = r.context_type
        and s.context_id = r.context_id
        and s.reference_number = r.session_reference_number
    left join confirmed as c
        on s.context_type = c.context_type
        and s.context_id = c.context_id
        and s.reference_number = c.session_reference_number
    left join upo_reads as u
        on s.context_type = u.context_type
        and s.context_id = u.context_id
        and s.reference_number = u.session_reference_number
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
