"""KsefClient: one method per endpoint, lists as generators of pages.

The path of a request, each hop adding one thing: `KsefAuth` (who), `RetryTransport` (again?),
`PacedTransport` (when), HTTP.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from kseflow.api.auth import KsefAuth, newest_key
from kseflow.api.credentials import Credentials
from kseflow.api.downloads import Storage, sha256_base64
from kseflow.api.limits import PacedTransport, SlidingWindows
from kseflow.api.retry import RetryTransport
from kseflow.clock import Clock, SystemClock, TimeBox
from kseflow.constants import ENVIRONMENTS, PAGE_SIZE, TIMEOUT_S
from kseflow.errors import (
    ConfigurationError,
    ContractViolation,
    CorruptDownload,
    RequestRejected,
    Unavailable,
    json_of,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """One answer of a list: its items as KSeF sent them, and KSeF's time (UTC) at receipt."""

    items: list[dict[str, Any]]
    received_at: datetime


class KsefClient:
    """The KSeF API 2.0 for one context.

    Every method may raise `LoginFailed`, `AccessDenied`, `RequestRejected`, `Unavailable`,
    `OutOfTime`, `Throttled` or `ContractViolation`.
    """

    def __init__(
        self,
        environment: str,
        credentials: Credentials,
        *,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        windows: SlidingWindows | None = None,
        patience_s: float = float("inf"),
    ) -> None:
        """Talk to `environment`: `production`, `demo`, `test` or a base URL.

        A `clock` that is a `TimeBox` ends waits that would pass its end. `windows` carries what
        was already spent this hour. A 429 longer than `patience_s` raises `Throttled`.
        """
        box = clock if isinstance(clock, TimeBox) else TimeBox(clock or SystemClock())
        transport = transport or http_transport(environment)
        self.base_url = base_url_of(environment)
        self._box = box
        self.context = credentials.context
        self.windows = windows or SlidingWindows(box.now)
        self._paced = PacedTransport(transport, self.windows, box)
        self._auth = KsefAuth(self.base_url, credentials, box)
        self._http = httpx.Client(
            base_url=self.base_url,
            auth=self._auth,
            transport=RetryTransport(self._paced, patience_s),
            timeout=TIMEOUT_S,
        )
        self.spending = self._paced.spending
        self.storage = Storage(self.base_url, transport, box, self.spending)
        self._symmetric_key: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    @property
    def permissions(self) -> frozenset[str] | None:
        """What the login may do, e.g. `Introspection`; None before it, or when it tells not."""
        return self._auth.permissions

    def now(self) -> datetime:
        """Return KSeF's time (UTC), as far as the login told it."""
        return self._auth.now()

    def sleep(self, seconds: float) -> None:
        """Wait, unless the time box ends before."""
        self._box.sleep(max(seconds, 0.0))

    def rate_limits(self) -> dict[str, tuple[int, int, int]]:
        """Return requests per second, minute and hour by group; -1 is no limit.

        They are also the limits that this client keeps from now on. Source: GET /rate-limits
        """
        answer = self._get("/rate-limits", "other")
        try:
            limits = {
                group: (values["perSecond"], values["perMinute"], values["perHour"])
                for group, values in answer.items()
                if isinstance(values, dict)
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ContractViolation(f"GET /rate-limits: unexpected answer ({error!r})") from None
        self.windows.limits = limits
        return limits

    def public_key_certificates(self) -> list[dict[str, Any]]:
        """Return KSeF's public keys. Source: GET /security/public-key-certificates"""
        answer: list[dict[str, Any]] = self._get("/security/public-key-certificates", "anonymous")
        return answer

    def sessions(
        self,
        session_type: str,
        *,
        modified_from: datetime | None = None,
        created_to: datetime | None = None,
        **filters: str,
    ) -> Iterator[Page]:
        """Yield pages of `Online` or `Batch` sessions, newest `dateCreated` first.

        `filters` are further query parameters of the endpoint. There is no upper bound on
        dateModified on purpose: see `discover`. Source: GET /sessions
        """
        params = {"sessionType": session_type, **filters}
        if modified_from is not None:
            params["dateModifiedFrom"] = _instant(modified_from)
        if created_to is not None:
            params["dateCreatedTo"] = _instant(created_to)
        return self._pages("/sessions", "sessionList", "sessions", params)

    def session(self, reference_number: str) -> dict[str, Any]:
        """Return one session's status; zero counters are left out by KSeF.

        Source: GET /sessions/{referenceNumber}
        """
        answer: dict[str, Any] = self._get(f"/sessions/{reference_number}", "sessionMisc")
        return answer

    def session_invoices(self, reference_number: str) -> Iterator[Page]:
        """Yield pages of a session's invoices. Source: GET /sessions/{ref}/invoices"""
        path = f"/sessions/{reference_number}/invoices"
        return self._pages(path, "sessionInvoiceList", "invoices", {})

    def failed_invoices(self, reference_number: str) -> Iterator[Page]:
        """Yield pages of a session's failed invoices, the same records as `session_invoices`.

        Source: GET /sessions/{ref}/invoices/failed
        """
        path = f"/sessions/{reference_number}/invoices/failed"
        return self._pages(path, "sessionInvoiceList", "invoices", {})

    def session_invoice(self, reference_number: str, invoice_reference: str) -> dict[str, Any]:
        """Return one invoice's status. Source: GET /sessions/{ref}/invoices/{invoiceRef}"""
        path = f"/sessions/{reference_number}/invoices/{invoice_reference}"
        answer: dict[str, Any] = self._get(path, "invoiceStatus")
        return answer

    def session_upo(self, reference_number: str, upo_reference: str) -> bytes:
        """Return a page of a session's receipt, the XML.

        Source: GET /sessions/{ref}/upo/{upoRef}
        """
        return self._upo(f"/sessions/{reference_number}/upo/{upo_reference}")

    def invoice_upo(self, reference_number: str, invoice_reference: str) -> bytes:
        """Return one invoice's receipt, the XML. Source: GET /sessions/{ref}/invoices/{ref}/upo"""
        return self._upo(f"/sessions/{reference_number}/invoices/{invoice_reference}/upo")

    def invoice_upo_by_ksef_number(self, reference_number: str, ksef_number: str) -> bytes:
        """Return one invoice's receipt, the XML.

        Source: GET /sessions/{ref}/invoices/ksef/{ksefNumber}/upo
        """
        return self._upo(f"/sessions/{reference_number}/invoices/ksef/{ksef_number}/upo")

    def symmetric_key_certificate(self, *, fresh: bool = False) -> dict[str, Any]:
        """Return the public key that encrypts an export's own key; kept until asked for afresh."""
        if self._symmetric_key is None or fresh:
            keys = self.public_key_certificates()
            self._symmetric_key = newest_key(keys, "SymmetricKeyEncryption", self.now())
        return self._symmetric_key

    def request_export(self, body: dict[str, Any]) -> str:
        """Ask for a package and return the export's reference number.

        Never repeated by itself: an answer that is lost may have started an export, and each
        takes one of ten places. Source: POST /invoices/exports
        """
        path = "/invoices/exports"
        response = self._answer("POST", path, "invoiceExport", is_repeatable=False, json=body)
        try:
            return str(json_of(response)["referenceNumber"])
        except (KeyError, TypeError):
            raise ContractViolation("POST /invoices/exports: no referenceNumber") from None

    def export_status(self, reference_number: str) -> dict[str, Any]:
        """Return an export's status and, when built, its package with links signed anew.

        Raises `RequestRejected` with status 410 when KSeF has removed it.
        Source: GET /invoices/exports/{referenceNumber}
        """
        path = f"/invoices/exports/{reference_number}"
        answer: dict[str, Any] = self._get(path, "invoiceExportStatus")
        return answer

    def _upo(self, path: str) -> bytes:
        response = self._answer("GET", path, "sessionMisc")
        promised = response.headers.get("x-ms-meta-hash")
        if promised and promised != sha256_base64(response.content):
            raise CorruptDownload(f"GET {path}: the receipt does not have the hash KSeF gave it")
        return response.content

    def _pages(self, path: str, group: str, key: str, params: dict[str, str]) -> Iterator[Page]:
        """Follow the continuation token; filters are sent again with each page."""
        params = {**params, "pageSize": str(PAGE_SIZE)}
        token: str | None = None
        while True:
            headers = {"x-continuation-token": token} if token else {}
            answer = self._get(path, group, params=params, headers=headers)
            items = answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(items, list):
                raise ContractViolation(f"GET {path}: the answer lacks the list {key!r}")
            yield Page(items, self.now())
            following = answer.get("continuationToken")
            if not following:
                return
            if following == token and not items:
                raise ContractViolation(f"GET {path}: the continuation token goes in circles")
            token = following

    def _get(self, path: str, group: str, **kwargs: Any) -> Any:
        return json_of(self._answer("GET", path, group, **kwargs))

    def _answer(
        self, method: str, path: str, group: str, *, is_repeatable: bool = True, **kwargs: Any
    ) -> httpx.Response:
        self._paced.admit(group)  # before the login: a token could end during the wait
        extensions = {"group": group, "repeatable": is_repeatable}
        response = self._http.request(method, path, extensions=extensions, **kwargs)
        if warning := response.headers.get("X-System-Warning"):
            log.warning("%s: KSeF warns: %s", self.context, warning)
        if response.is_server_error:  # of a request that is never repeated
            raise Unavailable(f"{method} {path}: HTTP {response.status_code}; not sent again")
        if response.is_error:
            raise RequestRejected.from_response(response)
        return response


def base_url_of(environment: str) -> str:
    """Return the base URL of a named environment, or check a given one.

    Raises `ConfigurationError` for unknown names, and for plain HTTP except on loopback.
    """
    if environment in ENVIRONMENTS:
        return ENVIRONMENTS[environment]
    url = urlsplit(environment)
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(environment))
    if url.hostname and is_safe:
        return environment.rstrip("/")
    if url.scheme == "http":
        raise ConfigurationError(
            f"{environment} is plain HTTP, which would show your token to the network; use https"
        )
    raise ConfigurationError(
        f"unknown environment {environment!r}; use {', '.join(ENVIRONMENTS)} or a base URL"
    )


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine, as an emulator's does."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def http_transport(environment: str) -> httpx.HTTPTransport:
    """Return a connection pool that goes through the proxy set in HTTPS_PROXY, if any.

    httpx itself looks for a proxy only where it also chooses the transport.
    """
    url = urlsplit(base_url_of(environment))
    is_direct = is_loopback(url.geturl()) or proxy_bypass(url.hostname or "")
    return httpx.HTTPTransport(proxy=None if is_direct else getproxies().get(url.scheme))


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
