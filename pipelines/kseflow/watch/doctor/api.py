"""The doctor's lines about KSeF: how it is reached, and what each taxpayer's login may do."""

from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from kseflow.api.address import proxy_of
from kseflow.api.answers import Bound, accepted, json_of
from kseflow.api.client import KsefClient
from kseflow.api.credentials import Credentials, TokenCredentials
from kseflow.api.keys import newest_key
from kseflow.clock import Clock, TimeBox
from kseflow.constants import OWNER, PACKAGE_CAP, PAGE_SIZE, SEES_ALL_SESSIONS
from kseflow.context import Context
from kseflow.errors import (
    AccessDenied,
    ConfigurationError,
    ContractViolation,
    KsefError,
    LoginFailed,
)
from kseflow.watch.doctor.asking import asked
from kseflow.watch.finding import Finding, critical, ok, warning

KEYS = "/security/public-key-certificates"
SIZE = Bound(1_000_000, "a hundred times the keys of 2026")
TIMEOUT_S = 10.0
PATIENCE_S = 60.0  # for one taxpayer's login
SKEW_WARNING_S, SKEW_ERROR_S = 5.0, 60.0
KEY_DAYS = 14  # before its end, the key that follows should be known
USAGES = {"KsefTokenEncryption": "logins by token", "SymmetricKeyEncryption": "exports"}
NEEDED = {
    "Introspection": "KSeF shows at most the sessions that this login opened, and does not say so",
    "InvoiceRead": "nothing is exported, so nobody else's invoices and no amounts are known",
}


def examine_service(base_url: str, clock: Clock) -> Generator[Finding, None, bool]:
    """Ask KSeF once, for its public keys; return whether it answered."""
    host = urlsplit(base_url).netloc
    sent_at = clock.now()
    try:
        answer = asked(base_url, f"{base_url}{KEYS}", clock, bound=SIZE, patience_s=TIMEOUT_S)
    except (httpx.RequestError, TimeoutError, KsefError) as problem:
        kind = "" if isinstance(problem, KsefError) else f"{type(problem).__name__}: "
        told = f"{host} gives no answer{_way(base_url)}: {kind}{problem}"
        yield critical("network", told, _network_remedy(problem))
        return False
    received_at = clock.now()
    yield ok("network", f"{host} answers{_way(base_url)}")
    yield _clock_line(answer.headers, sent_at, received_at)
    try:
        keys = json_of(accepted(answer))
        for usage, purpose in USAGES.items():
            yield _key_line(keys, usage, purpose, received_at)
    except (KsefError, KeyError, TypeError, ValueError) as problem:
        told = str(problem) if isinstance(problem, KsefError) else f"odd answer: {problem!r}"
        yield critical(
            "public keys", told, "Try later; check the base URL, the proxy and firewalls"
        )
    return True


def _way(base_url: str) -> str:
    """Say how the host is reached: encrypted or not, and through which proxy."""
    url = urlsplit(base_url)
    encrypted = " over TLS, its certificate is trusted" if url.scheme == "https" else " unencrypted"
    proxy = proxy_of(base_url)
    if proxy is None:
        return f"{encrypted}, without a proxy"
    without_password = proxy.rpartition("//")[2].rpartition("@")[2]
    return f"{encrypted}, through the proxy {without_password}"


def _network_remedy(problem: Exception) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(problem):
        return "Name your company's authority in SSL_CERT_FILE, if a proxy opens encryption"
    if isinstance(problem, httpx.ProxyError | ConfigurationError):
        return "Check HTTPS_PROXY and what the proxy lets through"
    return "Check network, DNS, firewall and HTTPS_PROXY; KSeF may be in maintenance"


def _clock_line(headers: httpx.Headers, sent_at: datetime, received_at: datetime) -> Finding:
    """Compare clocks by the Date header, which is cut to whole seconds."""
    try:
        # The last one: a server in between may have put its own before it.
        told_at = parsedate_to_datetime(headers.get_list("Date")[-1])
    except (IndexError, ValueError):
        return warning("clock", "KSeF's answer has no date", "Compare this machine's time yourself")
    told_at = told_at if told_at.tzinfo else told_at.replace(tzinfo=UTC)
    early_s = (told_at - received_at).total_seconds()
    late_s = (sent_at - told_at).total_seconds() - 1
    off_s = max(early_s, late_s, 0.0)
    if off_s <= SKEW_WARNING_S:
        return ok("clock", f"at most {off_s + 1:.0f} s off KSeF's")
    made = critical if off_s > SKEW_ERROR_S else warning
    side = "behind" if early_s > 0 else "ahead of"
    remedy = "Let the machine keep time by NTP, e.g. timedatectl set-ntp true"
    return made("clock", f"{off_s:.0f} s {side} KSeF's", remedy)


def _key_line(keys: list[dict[str, Any]], usage: str, purpose: str, now: datetime) -> Finding:
    """Tell how long KSeF's keys for a usage last, and whether others follow."""
    try:
        newest = newest_key(keys, usage, now)
    except ContractViolation as problem:
        return critical(
            "public keys", str(problem), f"No {purpose} until KSeF offers one; try later"
        )
    ends = datetime.fromisoformat(newest["validTo"])
    begins = [datetime.fromisoformat(key["validFrom"]) for key in keys if usage in key["usage"]]
    following = [begin for begin in begins if begin > now]
    days_left = (ends - now).days
    told = f"for {purpose}: valid to {ends:%Y-%m-%d}, {days_left} days left"
    if following:
        told += f"; the next one is valid from {min(following):%Y-%m-%d}"
    elif days_left < KEY_DAYS:
        return warning("public keys", f"{told}, and no other follows", "Watch KSeF's notices")
    return ok("public keys", told)


def examine_taxpayer(
    base_url: str,
    login: Credentials,
    clock: Clock,
    spent: Mapping[tuple[Context, str], int],
    *,
    wants_exports: bool,
) -> Iterator[Finding]:
    """Log in and read the rate limits; `spent` are the last hour's requests by group."""
    who = login.context
    box = TimeBox(clock, PATIENCE_S)
    client = KsefClient(base_url, login, clock=box)
    with box.loop() as loop:
        trouble = loop.run(_tried(client))
    if trouble is not None and client.permissions is None:
        is_refused = isinstance(trouble, LoginFailed | AccessDenied)
        remedy = "Make a new token or certificate" if is_refused else "Try again later"
        yield critical("login", str(trouble), remedy, who)
        return
    kind = "the token" if isinstance(login, TokenCredentials) else "the certificate"
    yield ok("login", f"works with {kind}", who)
    yield from _permission_lines(client, kind, wants_exports)
    if trouble is not None:
        yield critical("limits", str(trouble), "Try later; loads use KSeF's published limits", who)
    else:
        yield ok("limits", _limits_text(client, spent), who)


async def _tried(client: KsefClient) -> KsefError | None:
    """Log in and learn the limits; return what went wrong."""
    async with client:
        try:
            await client.rate_limits()
        except KsefError as problem:
            return problem
    return None


def _permission_lines(client: KsefClient, kind: str, wants_exports: bool) -> Iterator[Finding]:
    """Compare what the login may do with what a load needs: no less, and no more."""
    who, may = client.context, client.permissions
    if may is None:
        told = f"{kind} does not tell what it may do"
        yield warning("permissions", told, f"Give it {' and '.join(NEEDED)}", who)
        return
    needed = {name: {name} for name in NEEDED} | {"Introspection": SEES_ALL_SESSIONS}
    if not wants_exports:
        del needed["InvoiceRead"]
    lacking = [name for name, equals in needed.items() if not may & equals]
    for name in lacking:
        remedy = f"Make a new login with {' and '.join(NEEDED)}: a token's permissions stay"
        # Who sends invoices sees at least the own sessions; to others KSeF refuses the list.
        made = warning if name == "InvoiceRead" or "InvoiceWrite" in may else critical
        yield made("permissions", f"{name} is missing: {NEEDED[name]}", remedy, who)
    if OWNER in may:
        remedy = (
            f"Make a token with {' and '.join(NEEDED)}, or take the certificate of an identity "
            "that was granted these alone; a certificate itself cannot be narrowed"
        )
        told = f"{kind} is the owner's and may do everything, far more than a load needs"
        yield warning("permissions", told, remedy, who)
    elif more := sorted(may - set(NEEDED)):
        remedy = f"Give a login for loads {' and '.join(NEEDED)} only: it may leak"
        told = f"{kind} may do more than a load needs: {', '.join(more)}"
        yield warning("permissions", told, remedy, who)
    elif not lacking:
        yield ok("permissions", ", ".join(sorted(may)), who)


def _limits_text(client: KsefClient, spent: Mapping[tuple[Context, str], int]) -> str:
    """Say what the hour's requests allow, and how many of them are spent."""

    def told(group: str, things: str, row_count: int, rows: str, also: str = "") -> str:
        limit, used = client.windows.hourly_limit(group), spent.get((client.context, group))
        spending = "" if used is None else f" ({used:,} spent)"
        if limit < 0:
            return f"{things} without limit{spending}"
        also = also.format(limit)
        return f"{limit:,} {things}{spending} = up to {limit * row_count:,} {rows}{also}"

    return "an hour: " + "; ".join(
        [
            told("sessionList", "session lists", PAGE_SIZE, "sessions"),
            told(
                "sessionInvoiceList",
                "invoice lists",
                PAGE_SIZE,
                "invoices",
                " or {:,} small sessions",
            ),
            told("invoiceExport", "exports", PACKAGE_CAP, "invoices"),
        ]
    )
