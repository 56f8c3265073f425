"""KsefClient: one method per endpoint, lists as pages.

The path of a request, each hop adding one thing: `KsefClient` (who), `Sender` (again?), `Budget`
(when), `Gateway` (a place among the requests of all taxpayers), HTTP.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import httpx

from kseflow.api.address import is_loopback, path_of, reference
from kseflow.api.answers import Answer, Call, accepted, documented, object_of
from kseflow.api.auth import Login
from kseflow.api.credentials import Credentials
from kseflow.api.downloads import Storage, sha256_base64
from kseflow.api.gateway import Gateway
from kseflow.api.limits import EXPORTS, FAILURES, LISTS, POLLS, RECEIPTS, ROWS
from kseflow.api.paging import Circle, continuation
from kseflow.api.retry import Budget, Sender
from kseflow.clock import Clock, SystemClock, TimeBox
from kseflow.constants import (
    ANSWER_BYTES,
    PAGE_SIZE,
    REQUESTS_IN_FLIGHT,
    SIZE_FACTOR,
)
from kseflow.errors import ContractViolation, CorruptDownload, plain, shown

log = logging.getLogger(__name__)

WINDOWS = ("perSecond", "perMinute", "perHour")


@dataclass(frozen=True)
class Page:
    """One answer of a list: its items as KSeF sent them, and KSeF's time (UTC) at receipt."""

    items: list[dict[str, Any]]
    received_at: datetime


class KsefClient:
    """The KSeF API 2.0 for one context.

    Every method may raise `LoginFailed`, `AccessDenied`, `RequestRejected`, `Unavailable`,
    `OutOfTime` or `ContractViolation`.
    """

    def __init__(
        self,
        environment: str | Gateway,
        credentials: Credentials,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Talk to `environment`: `production`, `demo`, `test`, a base URL, or a shared gateway.

        A `clock` that is a `TimeBox` ends waits that would pass its end; a gateway has its own.
        """
        self._is_closed, self._has_own_gateway = False, isinstance(environment, str)
        if isinstance(environment, Gateway):
            self.gateway = environment
        else:
            box = clock if isinstance(clock, TimeBox) else TimeBox(clock or SystemClock())
            self.gateway = Gateway(environment, box)
        self.base_url = self.gateway.base_url
        self.credentials, self.context = credentials, credentials.context
        gateway, box = self.gateway, self.gateway.box
        self._budget = budget = Budget(box, gateway.shared_groups)
        self.windows, self.spending = budget.windows, budget.spending
        bound = documented("a page of a list", ANSWER_BYTES, gateway.size_factor)
        self._sender = Sender(self.base_url, gateway.send, gateway.gate, box, budget, bound=bound)
        self._login = Login(
            credentials,
            box,
            gateway.public_keys,
            self._sender.answer,
            has_own_time=is_loopback(self.base_url),
        )
        self.storage = Storage(self.base_url, gateway.send, gateway.gate, box, self.spending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_closed = True
        if self._has_own_gateway:
            await self.gateway.aclose()

    @property
    def permissions(self) -> frozenset[str] | None:
        """What the login may do, e.g. `Introspection`; None before it, or when it tells not."""
        return self._login.permissions

    def now(self) -> datetime:
        """Return KSeF's time (UTC), as far as the login told it."""
        return self._login.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the time box ends before."""
        await self.gateway.box.sleep(max(seconds, 0.0))

    async def rate_limits(self) -> dict[str, tuple[int, int, int]]:
        """Return requests per second, minute and hour by group; -1 is no limit.

        They are also the limits that this client keeps from now on. Source: GET /rate-limits
        """
        answer = await self._get("/rate-limits", "other")
        limits: dict[str, tuple[int, int, int]] = {}
        for group, values in answer.items():
            found: list[Any] = (
                [values.get(name) for name in WINDOWS] if isinstance(values, dict) else [None]
            )
            if all(type(value) is int and (value == -1 or value > 0) for value in found):
                limits[group] = (found[0], found[1], found[2])
            else:
                log.warning(
                    "%s: KSeF's limit of %s is garbled: %s",
                    self.context,
                    plain(group),
                    shown(values),
                )
        self._budget.keep(limits, self.rate_limits)
        return limits

    async def public_key_certificates(self) -> list[dict[str, Any]]:
        """Return KSeF's public keys. Source: GET /security/public-key-certificates"""
        return await self._login.ask_for_keys()

    def sessions(
        self,
        session_type: str,
        *,
        modified_from: datetime | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        **filters: str,
    ) -> AsyncIterator[Page]:
        """Yield pages of `Online` or `Batch` sessions, newest `dateCreated` first.

        `filters` are further query parameters of the endpoint. There is no upper bound on
        dateModified on purpose: see `discover`. Source: GET /sessions
        """
        params = {"sessionType": session_type, **filters}
        bounds = {
            "dateModifiedFrom": modified_from,
            "dateCreatedFrom": created_from,
            "dateCreatedTo": created_to,
        }
        params |= {name: _instant(bound) for name, bound in bounds.items() if bound is not None}
        return self._pages("/sessions", "sessionList", "sessions", LISTS, params)

    async def session(self, reference_number: str) -> dict[str, Any]:
        """Return one session's status; zero counters are left out by KSeF.

        Source: GET /sessions/{referenceNumber}
        """
        path = path_of("/sessions/{}", reference_number)
        return await self._get(path, "sessionMisc", RECEIPTS)

    def session_invoices(
        self, reference_number: str, *, is_urgent: bool = False
    ) -> AsyncIterator[Page]:
        """Yield pages of a session's invoices; failures among them make them urgent.

        Source: GET /sessions/{ref}/invoices
        """
        path = path_of("/sessions/{}/invoices", reference_number)
        value = FAILURES if is_urgent else ROWS
        return self._pages(path, "sessionInvoiceList", "invoices", value, {})

    def failed_invoices(self, reference_number: str) -> AsyncIterator[Page]:
        """Yield pages of a session's failed invoices, the same records as `session_invoices`.

        Source: GET /sessions/{ref}/invoices/failed
        """
        path = path_of("/sessions/{}/invoices/failed", reference_number)
        return self._pages(path, "sessionInvoiceList", "invoices", FAILURES, {})

    async def session_invoice(
        self, reference_number: str, invoice_reference: str
    ) -> dict[str, Any]:
        """Return one invoice's status. Source: GET /sessions/{ref}/invoices/{invoiceRef}"""
        path = path_of("/sessions/{}/invoices/{}", reference_number, invoice_reference)
        return await self._get(path, "invoiceStatus", ROWS)

    async def session_upo(self, reference_number: str, upo_reference: str) -> bytes:
        """Return a page of a session's receipt, the XML.

        Source: GET /sessions/{ref}/upo/{upoRef}
        """
        return await self._upo("/sessions/{}/upo/{}", reference_number, upo_reference)

    async def invoice_upo(self, reference_number: str, invoice_reference: str) -> bytes:
        """Return one invoice's receipt, the XML. Source: GET /sessions/{ref}/invoices/{ref}/upo"""
        return await self._upo("/sessions/{}/invoices/{}/upo", reference_number, invoice_reference)

    async def invoice_upo_by_ksef_number(self, reference_number: str, ksef_number: str) -> bytes:
        """Return one invoice's receipt, the XML.

        Source: GET /sessions/{ref}/invoices/ksef/{ksefNumber}/upo
        """
        return await self._upo("/sessions/{}/invoices/ksef/{}/upo", reference_number, ksef_number)

    async def symmetric_key(self) -> dict[str, Any]:
        """Return the public key that encrypts an export's own key."""
        keys = self.gateway.public_keys
        return await keys.newest("SymmetricKeyEncryption", self.now(), self._login.ask_for_keys)

    def withdraw_key(self, key: dict[str, Any]) -> None:
        """Take note that KSeF no longer takes a public key."""
        self.gateway.public_keys.withdraw(key)

    async def request_export(self, body: dict[str, Any]) -> str:
        """Ask for a package and return the export's reference number.

        Repeated only after a page of the firewall: an answer that is lost may have started an
        export, and each takes one of ten places. Source: POST /invoices/exports
        """
        path = "/invoices/exports"
        call = Call(
            "POST", path, "invoiceExport", EXPORTS, is_repeatable=False, body={"json": body}
        )
        return reference(object_of(await self._answer(call)).get("referenceNumber"))

    async def export_status(self, reference_number: str) -> dict[str, Any]:
        """Return an export's status and, when built, its package with links signed anew.

        Raises `RequestRejected` with status 410 when KSeF has removed it.
        Source: GET /invoices/exports/{referenceNumber}
        """
        path = path_of("/invoices/exports/{}", reference_number)
        return await self._get(path, "invoiceExportStatus", POLLS)

    async def _upo(self, form: str, *references: str) -> bytes:
        path = path_of(form, *references)
        answer = await self._answer(Call("GET", path, "sessionMisc", RECEIPTS))
        promised = answer.headers.get("x-ms-meta-hash")
        if promised and promised != sha256_base64(answer.content):
            raise CorruptDownload(f"GET {path}: the receipt does not have the hash KSeF gave it")
        return answer.content

    async def _pages(
        self, path: str, group: str, key: str, value: int, params: dict[str, str]
    ) -> AsyncIterator[Page]:
        """Follow the continuation token; filters are sent again with each page."""
        params = {**params, "pageSize": str(PAGE_SIZE)}
        token: str | None = None
        circle = Circle(path)
        while True:
            headers = {"x-continuation-token": token} if token else {}
            call = Call("GET", path, group, value, body={"params": params, "headers": headers})
            answer = object_of(await self._answer(call))
            items = answer.get(key)
            if not isinstance(items, list):
                raise ContractViolation(f"GET {path}: the answer lacks the list {key!r}")
            yield Page(items, self.now())
            token = continuation(path, answer.get("continuationToken"))
            if token is None:
                return
            circle.check(items, token)

    async def _get(self, path: str, group: str, value: int = LISTS) -> dict[str, Any]:
        return object_of(await self._answer(Call("GET", path, group, value)))

    async def _answer(self, call: Call) -> Answer:
        """Return the answer to a call, sent again with another token if KSeF refuses the first."""
        if self._is_closed:
            raise RuntimeError("this client is closed; make another one")
        used: list[str] = []

        async def bearer() -> str:
            used.append(await self._login.bearer())
            return used[-1]

        answer = await self._sender.answer(call, bearer)
        # A bad bearer was seen to be answered by an empty 403 as well.
        if answer.status == 401 or (answer.status == 403 and not answer.content):
            self._login.refuse(used[-1])
            answer = await self._sender.answer(call, bearer)
        return accepted(answer)


def make_clients(
    environment: str,
    credentials: Sequence[Credentials],
    box: TimeBox,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    requests_in_flight: int = REQUESTS_IN_FLIGHT,
    size_factor: int = SIZE_FACTOR,
    sharer_count: int = 1,
) -> list[KsefClient]:
    """Return a client for each taxpayer; they share one way to KSeF, within one time box.

    With so many processes (`sharer_count`) they share their address.
    """
    gateway = Gateway(
        environment,
        box,
        transport=transport,
        requests_in_flight=requests_in_flight,
        size_factor=size_factor,
        sharer_count=sharer_count,
    )
    return [KsefClient(gateway, login) for login in credentials]


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
