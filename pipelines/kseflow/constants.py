"""Constants, each with its unit and where it comes from."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

# docs: srodowiska.md
ENVIRONMENTS = {
    "production": "https://api.ksef.mf.gov.pl/v2",
    "demo": "https://api-demo.ksef.mf.gov.pl/v2",
    "test": "https://api-test.ksef.mf.gov.pl/v2",
}

WARSAW = ZoneInfo("Europe/Warsaw")  # what people are shown, and mean when they name no zone

DATASET = "ksef_raw"  # the schema that loads write

MEMORY_LIMIT = "2500MB"  # of DuckDB while it builds; beyond it, it uses the disk
WORKLIST_MEMORY = "240MB"  # of DuckDB while it compares counters with rows; likewise

PAGE_SIZE = 1000  # rows; the contract's maximum, and every page is one request of the budget

KSEF_BEGINS = datetime(2025, 9, 1, tzinfo=UTC)  # no session of API 2.0 is older

# Requests per second, minute and hour (-1: no limit), used until GET /rate-limits has answered.
# OpenAPI 2.7.0, x-rate-limits of each endpoint.
PRODUCTION_LIMITS = {
    "anonymous": (60, -1, -1),
    "sessionList": (5, 10, 60),
    "sessionInvoiceList": (10, 20, 200),
    "sessionMisc": (10, 120, 1200),
    "invoiceStatus": (30, 120, 1200),
    "invoiceExport": (8, 16, 20),
    "invoiceExportStatus": (10, 60, 600),
    "storage": (-1, -1, -1),  # signed links are outside KSeF's limits
    "global": (-1, -1, -1),
    "other": (10, 30, 120),
}

# KSeF counts when a request arrives, we when its answer is here; this covers clocks that differ.
WINDOW_MARGIN_S = 0.2

LIMITS_AGE_S = 300.0  # a wait for a window asks as often whether the limits have changed

REQUESTS_IN_FLIGHT = 32  # over all taxpayers
MOST_SHARDS = 60  # each has one of the 60 requests a second that logins of one address may make
ANSWER_BYTES = 2_000_000  # a page of 1,000 invoices, each with a link and some details
JSON_VALUES = 2_000_000  # of one answer or `_metadata.json`; parsed they take 200 MB at most
SIZE_FACTOR = 10  # times the documented size of anything is taken
OLDEST_YEAR = 2000  # of any moment that KSeF tells
BARREN_PAGES = 10  # of a list in a row, without a row that is new
CONTINUATION_BYTES = 8_192  # of a continuation token, which goes into a header
LONGEST_WAIT_S = 7 * 24 * 3600.0  # what a Retry-After is believed
ANSWER_TIME_S = 300.0  # one whole answer, however steadily it drips
DOWNLOAD_TIME_S = 900.0  # a part of 50 MB at half a megabit a second
TIMEOUT_S = 30.0  # one network read; a page of 1,000 invoices takes a few seconds at worst
TRIES = 5  # for 5xx, network faults and sessions in maintenance
FIRST_BACKOFF_S = 1.0  # doubled with each try
LONGEST_ACCESS = timedelta(days=1)  # an access token's life is a quarter of an hour
TOKEN_MARGIN = timedelta(seconds=60)  # refresh this long before an access token (15 min) ends
LOGIN_POLLS = 60  # the login status is asked at most so often, waiting 1 to 5 s in between

# By law tokens end with 2026; a later draft lets them live on, for 365 days at most. (#834)
TOKENS_END = datetime(2027, 1, 1, tzinfo=WARSAW)
LONGEST_TOKEN = timedelta(days=365)

# Permissions of a login with which KSeF shows sessions that others opened. docs: uprawnienia.md
SEES_ALL_SESSIONS = frozenset({"Introspection", "EnforcementOperations"})

# The claim of a taxpayer's own login, and what it means. OpenAPI 2.9.0, ownerPermissions.
OWNER = "Owner"
OWNER_RIGHTS = frozenset(
    {
        "CollectiveIdentifierManage",
        "CredentialsManage",
        "CredentialsRead",
        "EnforcementOperations",
        "Introspection",
        "InvoiceRead",
        "InvoiceWrite",
        "SubunitManage",
    }
)

OPEN_STATUS_CODES = (100, 150, 170)  # sessions; the state diagrams in faktury/sesje
PENDING_STATUS_CODES = (100, 150)  # invoices
ACCEPTED_STATUS_CODE = 200
# Of invoices; an invoice with any other may get another still. OpenAPI 2.7.0
FINAL_STATUS_CODES = (ACCEPTED_STATUS_CODE, 405, 410, 415, 430, 435, 440, 450, 500, 550)

# A moment later than now by more is not believed, nor a login whose clock differs by more.
MOST_SKEW = timedelta(minutes=5)

# The session list may lag and its dateUpdated is in whole seconds: look back this far.
LOOKBACK = timedelta(hours=2)
# What the list shows late, and what changes without a new dateUpdated, lies further back: so far
# it looks back every so often, for this many sessions at most: ten requests more.
SWEEPS = (
    (timedelta(hours=36), timedelta(hours=6)),
    (timedelta(days=7), timedelta(days=1)),
)
SWEEP_COUNT = 10_000
# Open sessions are listed again however old their dateUpdated is, up to this age: 12 h of
# validity, up to an hour until KSeF closes them, and a working day of incident.
OPEN_SESSION_REACH = timedelta(hours=36)
SMALLEST_SLICE = timedelta(hours=12)  # of a listing; KSeF refuses something else than the span
UNSETTLED_REACH = timedelta(days=7)  # after this, an invoice without storage date is left alone

# Exports. KSeF allows 100 days a window and caps a package; docs: przyrostowe-pobieranie-faktur.md
EXPORTS_BEGIN = datetime(2026, 2, 1, tzinfo=UTC)  # KSeF 2.0 in production
EXPORT_SPAN = timedelta(days=99)
PACKAGE_CAP = 10_000  # invoices; a package this full counts as truncated whatever its flag says
EXPORTS_PER_HOUR = 4  # for each subject type: KSeF takes 20 an hour for the four together
EXPORT_INTERVAL = timedelta(minutes=15)  # between packages, once caught up
RARE_SUBJECT_TYPES = ("Subject3", "SubjectAuthorized")
RARE_EXPORT_INTERVAL = timedelta(hours=23)  # once a day, however late yesterday's load was
HWM_STEP = timedelta(days=1)  # read again when KSeF takes back what it vouched for
EXPORT_POLL_S = (2.0, 30.0)  # the status is asked after the first, each wait half as long again
EXPORT_PATIENCE_S = 15 * 60.0  # a package not ready by then is given up and asked for anew
EXPORT_TRIES = 2  # exports asked for one window in one run
DOWNLOAD_TRIES = 3  # each with fresh links

# Documented sizes, each of which is taken `size_factor` times. docs: limity.md
PART_BYTES = 50_000_000 + 16  # an encrypted part
PACKAGE_BYTES = 1_000_000_000  # a package, packed
INVOICE_BYTES = 3_000_000  # the largest invoice, with attachments
METADATA_BYTES = 500  # of `_metadata.json` for each invoice; most take 1,200
UPO_BYTES = 5_000_000  # the receipt of a session of 10,000 invoices
UPO_MARKS = 250_000  # signs < and = in it: what parsed XML costs goes by them, not by bytes
EXPANSION = 200  # unpacked bytes for each packed one: ten times what XML compresses to
# A package holds `_metadata.json` and at most a file an invoice; this many more are let pass.
FURTHER_MEMBERS = 100
HEADER_BYTES = 1 << 16  # what an archive may say of one member before it begins
DIRECTORY_BYTES = 300  # of a zip's directory for each member
STORAGE_DOMAIN = "mf.gov.pl"  # signed links lead there, or to the API's own host

# What `detail="auto"` leaves of the hour's /invoices for failures that come later in that hour.
COMPLETION_RESERVE = 0.25
FAILURES_FIRST_S = 600.0  # exports wait so long for the failures of all taxpayers
TROUBLES_IN_A_ROW = 5  # sessions that cannot be read; then the others cannot be either

MAX_TIME_S = 50 * 60  # a load an hour, with time to spare
COMMIT_EVERY_S = 120.0  # what a crash may cost, and before which wait rows are put in safety
COMMIT_ROWS = 50_000
KEPT_ROWS = 200_000  # rows that wait for dlt; beyond them no request goes out
LOCK_WAIT_S = 60.0
