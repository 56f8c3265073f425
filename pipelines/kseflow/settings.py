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
    "other": (10, 30, 120),
}

# KSeF counts when a request arrives, we when its answer is here; this covers clocks that differ.
WINDOW_MARGIN_S = 0.2

TIMEOUT_S = 30.0  # one network read; a page of 1,000 invoices takes a few seconds at worst
TRIES = 5  # for 5xx, network faults and sessions in maintenance
FIRST_BACKOFF_S = 1.0  # doubled with each try
PATIENCE_S = 5.0  # a load waits so long for one taxpayer before it turns to the others
TOKEN_MARGIN = timedelta(seconds=60)  # refresh this long before an access token (15 min) ends
LOGIN_POLLS = 60  # the login status is asked at most so often, waiting 1 to 5 s in between

OPEN_STATUS_CODES = (100, 150, 170)  # sessions; the state diagrams in faktury/sesje
PENDING_STATUS_CODES = (100, 150)  # invoices
ACCEPTED_STATUS_CODE = 200

# The session list may lag and its dateUpdated is in whole seconds: look back this far.
LOOKBACK = timedelta(hours=2)
# Open sessions are listed again however old their dateUpdated is, up to this age: 12 h of
# validity, up to an hour until KSeF closes them, and a working day of incident.
OPEN_SESSION_REACH = timedelta(hours=36)
UNSETTLED_REACH = timedelta(days=7)  # after this, an invoice without storage date is left alone

MAX_TIME_S = 50 * 60  # a load an hour, with time to spare
COMMIT_EVERY_S = 120.0  # what a crash may cost, and before which wait rows are put in safety
COMMIT_ROWS = 50_000
LOCK_WAIT_S = 60.0
