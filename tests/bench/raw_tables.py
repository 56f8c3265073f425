"""Raw tables of any size, made in SQL: 20 taxpayers, 90 days, one invoice in twenty refused.

Every accepted invoice was exported. Of every fifth session only failures and the receipt were read.
"""

from pathlib import Path

import duckdb

from kseflow.raw.tables import TABLES

REFERENCE = (
    "strftime({time}, '%Y%m%d') || '-{kind}-' || upper(substr({noise}, 1, 10)) || '-' "
    "|| upper(substr({noise}, 11, 10)) || '-' || upper(substr({noise}, 21, 2))"
)
SESSION = REFERENCE.format(time="date_created", kind="SB", noise="md5('s' || {number})")
START = "timestamptz '2026-08-20 00:00:00+00'"

SESSIONS_SQL = f"""
create table ksef_raw.sessions as
with numbered as (
    select
        number,
        {START} + to_microseconds(number * (90 * 86400000000 // {{sessions}})) as date_created
    from range({{sessions}}) as series(number)
)

select
    'Nip' as context_type,
    cast(5260000000 + number % 20 as varchar) as context_id,
    if(number % 3 = 0, 'Batch', 'Online') as session_type,
    {SESSION.format(number="number")} as reference_number,
    200::integer as status_code,
    'Sesja przetworzona' as status_description,
    null::json as status_details,
    date_created,
    date_trunc('second', date_created + interval 5 minutes) as date_updated,
    strftime(date_created, '%c') as date_updated_text,
    date_created + interval 12 hours as valid_until,
    0::integer as total_invoice_count,
    0::integer as successful_invoice_count,
    0::integer as failed_invoice_count,
    null::varchar as unrecognised,
    {START} + interval 90 days as read_at
from numbered
"""

# Every twentieth invoice fails: half of them with 450, a tenth as a duplicate, a tenth by KSeF's
# fault. One failure in twenty is sent again unchanged, some days later. Every second package
# names its files 1.xml, 2.xml and so on.
INVOICES_SQL = f"""
create table ksef_raw.session_invoices as
with numbered as (
    select
        number,
        number * {{sessions}} // {{invoices}} as session_number,
        number % 20 = 7 as is_failed,
        (number // 20) % 10 as variety,
        md5('i' || number) as noise,
        number % 400 = 5 and number > 400 as is_resent
    from range({{invoices}}) as series(number)
),

timed as (
    select
        *,
        {START} + to_microseconds(session_number * (90 * 86400000000 // {{sessions}}))
            as date_created,
        md5(if(is_resent, 'h' || (number - 398), 'h' || number)) as content
    from numbered
),

coded as (
    select
        *,
        date_created + to_microseconds(60000000 + number % 10 * 1000000) as invoicing_date,
        case
            when not is_failed then 200
            when variety < 5 then 450
            when variety = 5 then 440
            when variety = 6 then 550
            when variety = 7 then 430
            when variety = 8 then 410
            else 415
        end as status_code
    from timed
)

select
    'Nip' as context_type,
    cast(5260000000 + session_number % 20 as varchar) as context_id,
    {SESSION.format(number="session_number")} as session_reference_number,
    {REFERENCE.format(time="date_created", kind="EE", noise="noise")} as reference_number,
    cast(1 + number % 10 as integer) as ordinal_number,
    if(status_code = 200, 'FV/2026/' || number, null) as invoice_number,
    if(status_code = 200, {{ksef_number}}, null) as ksef_number,
    to_base64(unhex(content || md5(content))) as invoice_hash,
    case
        when session_number % 6 = 0 then 'FV_2026_' || number || '.xml'
        when session_number % 6 = 3 then number % 10 || '.xml'
    end as invoice_file_name,
    'Online' as invoicing_mode,
    invoicing_date,
    if(status_code = 200, invoicing_date + to_microseconds(5000000 + number % 977 * 9973), null)
        as acquisition_date,
    if(status_code = 200, invoicing_date + to_microseconds(60000000 + number % 991 * 99991), null)
        as permanent_storage_date,
    cast(status_code as integer) as status_code,
    case status_code when 200 then 'Sukces' else 'Błąd' end as status_description,
    case status_code
        when 450 then '["The ''http://crd.gov.pl/wzor/2025/06/25/13775/:P_' || variety
            || ''' element is invalid - The value ''' || number || '.45678'' is invalid according '
            || 'to its datatype ''TKwotowy'' - The Pattern constraint failed."]'
        when 430 then '["Rozmiar faktury nie zgadza się z zadeklarowaną wartością: '''
            || number % 5000 || '''."]'
        when 440 then '["Duplikat faktury. Faktura o numerze KSeF: X"]'
    end::json as status_details,
    if(
        status_code = 440,
        json_object('originalKsefNumber', {{ksef_number}})::varchar,
        null
    ) as status_extensions,
    null::varchar as unrecognised,
    {START} + interval 90 days as read_at
from coded
"""
KSEF_NUMBER = (
    "cast(5260000000 + session_number % 20 as varchar) || '-20261117-' "
    "|| upper(substr(md5('k' || {number}), 1, 12)) || '-00'"
)

COUNTERS_SQL = """
update ksef_raw.sessions as s
set total_invoice_count = c.total, successful_invoice_count = c.accepted,
    failed_invoice_count = c.total - c.accepted
from (
    select session_reference_number as reference, count(*) as total,
        count(*) filter (where status_code = 200) as accepted
    from ksef_raw.session_invoices group by 1
) as c
where s.reference_number = c.reference
"""

READS_SQL = """
create table ksef_raw.invoice_reads as
select context_type, context_id, reference_number as session_reference_number,
    'invoices' as endpoint, date_updated as session_date_updated,
    total_invoice_count as row_count, null::varchar as error, read_at
from ksef_raw.sessions
"""


BY_RECEIPT = "hash(session_reference_number) % 5 = 0"

METADATA_SQL = """
create table ksef_raw.invoice_metadata as
select context_type, context_id, 'Subject1' as subject_type, ksef_number,
    context_id || date_trunc('hour', permanent_storage_date) as package_reference_number,
    invoice_number, cast(invoicing_date as date) as issue_date, invoicing_date, acquisition_date,
    permanent_storage_date, context_id as seller_nip, 'Sprzedawca' as seller_name,
    'Nip' as buyer_identifier_type, '9999999999' as buyer_identifier, 'Nabywca' as buyer_name,
    100::decimal(18, 2) as net_amount, 123::decimal(18, 2) as gross_amount,
    23::decimal(18, 2) as vat_amount, 'PLN' as currency, invoicing_mode, 'Vat' as invoice_type,
    'FA (3)' as form_system_code, '1-0E' as form_schema_version, 'FA' as form_value,
    false as is_self_invoicing, false as has_attachment, invoice_hash,
    null::varchar as hash_of_corrected_invoice, null::varchar as third_subjects,
    null::varchar as authorized_subject, null::varchar as unrecognised, read_at
from ksef_raw.session_invoices where status_code = 200
"""

PACKAGES_SQL = f"""
create table ksef_raw.export_packages as
with windows as (
    select context_id, {START} + to_hours(hour) as requested_from,
        {START} + to_hours(hour + 1) as til
    from (select distinct context_id from ksef_raw.sessions), range(90 * 24 + 1) as series(hour)
)

select
    'Nip' as context_type,
    context_id,
    'Subject1' as subject_type,
    context_id || requested_from as reference_number,
    requested_from,
    strftime(requested_from, '%Y-%m-%dT%H:%M:%S.%f0+00:00') as requested_from_text,
    null::timestamptz as requested_to,
    true as is_metadata_only,
    til + interval 2 minutes as requested_at,
    200::integer as status_code,
    'Eksport faktur zakończony sukcesem' as status_description,
    null::json as status_details,
    til + interval 150 seconds as completed_date,
    til + interval 7 days as package_expiration_date,
    1000::integer as invoice_count,
    1000000::bigint as size_bytes,
    1::integer as part_count,
    '[]' as parts,
    'Zip' as compression_type,
    false as is_truncated,
    null::date as last_issue_date,
    null::timestamptz as last_invoicing_date,
    null::timestamptz as last_permanent_storage_date,
    til as permanent_storage_hwm_date,
    strftime(til, '%Y-%m-%dT%H:%M:%S.%f0+00:00') as permanent_storage_hwm_date_text,
    1000::integer as metadata_count,
    til as next_from,
    strftime(til, '%Y-%m-%dT%H:%M:%S.%f0+00:00') as next_from_text,
    false as is_effectively_truncated,
    true as cursor_moved,
    null::varchar as error,
    null::varchar as unrecognised,
    til + interval 3 minutes as read_at
from windows
"""

RECEIPTS_SQL = f"""
create table ksef_raw.upo_documents as
select context_type, context_id, ksef_number, session_reference_number,
    session_reference_number || '-UPO' as upo_reference_number, context_id as seller_nip,
    invoice_number, cast(invoicing_date as date) as issue_date,
    date_trunc('millisecond', invoicing_date) as sent_date,
    date_trunc('millisecond', acquisition_date) as acquisition_date, invoice_hash, invoicing_mode,
    'FA (3)' as form_code, read_at
from ksef_raw.session_invoices where status_code = 200 and {BY_RECEIPT};

delete from ksef_raw.session_invoices where status_code = 200 and {BY_RECEIPT};

create table ksef_raw.upo_reads as
select context_type, context_id, session_reference_number, session_date_updated,
    1::integer as page_count, row_count, null::varchar as error, read_at
from ksef_raw.invoice_reads where {BY_RECEIPT};

update ksef_raw.invoice_reads set endpoint = 'failed' where {BY_RECEIPT}
"""


def write_raw_tables(database: Path, *, sessions: int, invoices: int) -> None:
    """Write the raw tables of a finished load into a new DuckDB file."""
    number = KSEF_NUMBER.format(number="if(status_code = 440, number - 1, number)")
    with duckdb.connect(str(database)) as connection:
        connection.execute("set preserve_insertion_order = false; set timezone = 'UTC'")
        connection.execute("set memory_limit = '4GB'; create schema ksef_raw")
        connection.execute(SESSIONS_SQL.format(sessions=sessions))
        connection.execute(
            INVOICES_SQL.format(sessions=sessions, invoices=invoices, ksef_number=number)
        )
        connection.execute(
            "create table ksef_raw.failed_invoices as "
            "from ksef_raw.session_invoices where status_code > 200"
        )
        connection.execute(COUNTERS_SQL)
        connection.execute("create table ksef_raw._dlt_loads as select '1' as load_id, 0 as status")
        for sql in (READS_SQL, METADATA_SQL, PACKAGES_SQL, RECEIPTS_SQL):
            connection.execute(sql)
        for table in TABLES:
            connection.register("arrow_rows", table.schema.empty_table())
            connection.execute(
                f"create table if not exists ksef_raw.{table.name} as from arrow_rows"
            )
            connection.unregister("arrow_rows")
