"""The emulator as a WSGI application: the path every request takes to its route.

Who is calling, does the rate limit allow it, may the caller do it, is the request well formed:
asked in this order, each before the route itself answers.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import http_date
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from ksef_emulator.api.answers import edge_headers, error_answer
from ksef_emulator.api.auth import AuthRoutes
from ksef_emulator.api.calls import UNLIMITED, Call, Route
from ksef_emulator.api.contract import not_served
from ksef_emulator.api.control import ControlRoutes
from ksef_emulator.api.credentials import Credentials
from ksef_emulator.api.downloads import STORAGE, DownloadRoutes, Links
from ksef_emulator.api.errors import ApiError, Forbidden, Unauthorized
from ksef_emulator.api.exports.processing import Exports
from ksef_emulator.api.exports.routes import ExportRoutes
from ksef_emulator.api.exports.settings import ExportSettings
from ksef_emulator.api.invoices import InvoiceRoutes
from ksef_emulator.api.jwt import Claims, Signer
from ksef_emulator.api.keys import PublicKeys
from ksef_emulator.api.limits import LimitRoutes, Limits, Values
from ksef_emulator.api.lookup import Lookup
from ksef_emulator.api.nulls import with_nulls
from ksef_emulator.api.operations import Operations
from ksef_emulator.api.paging import Pages
from ksef_emulator.api.receipts import ReceiptRoutes
from ksef_emulator.api.sessions import SessionRoutes
from ksef_emulator.clock import Clock
from ksef_emulator.faults import Fault, Schedule, apply
from ksef_emulator.identifiers import digest
from ksef_emulator.quirks import GUESSES, Quirks
from ksef_emulator.world.certificates import CertificateFiles, write_certificate_files
from ksef_emulator.world.oddities import happens
from ksef_emulator.world.receipts import Receipts
from ksef_emulator.world.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Served(NamedTuple):
    """A request the emulator has answered; status 0 is a dropped connection."""

    method: str
    path: str
    query: str
    route: str
    group: str
    status: int
    context_id: str
    at: datetime
    headers: dict[str, str]
    body: bytes


class Emulator:
    """Answer KSeF's API from a world and a clock; call it as a WSGI application.

    `exports` says how exports behave; they are remembered by the emulator, not by the world.
    `requests` remembers the last 100,000 requests. Threads may call it, and wait for each other.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        limits: Literal["production", "off"] | Mapping[str, Values] = "production",
        *,
        faults: Iterable[Fault] = (),
        quirks: Quirks = GUESSES,
        exports: ExportSettings | None = None,
    ) -> None:
        self.world = world
        self.clock = clock
        self.requests: deque[Served] = deque(maxlen=100_000)
        self.limits = Limits(limits, refused_count=quirks.refused_count)
        self._quirks = quirks
        self._draws = count()
        self._keys = PublicKeys(world.since)
        self._operations = Operations(world.seed)
        self._signer = Signer(world.seed)
        self._faults = Schedule(faults)
        self._lock = threading.Lock()
        self._numbers = count()
        self.routes = self._routes(quirks, exports or ExportSettings())
        known = [*self.routes, *not_served(self.routes)]
        self._map = Map([Rule(r.path, endpoint=r, methods=[r.method]) for r in known])
        self._methods: defaultdict[str, set[str]] = defaultdict(set)
        for rule in self._map.iter_rules():
            if not rule.arguments:
                self._methods[rule.rule].update(rule.methods or ())

    def _routes(self, quirks: Quirks, settings: ExportSettings) -> list[Route]:
        """Give each group of routes the parts of the emulator that it needs."""
        world, keys = self.world, self._keys
        lookup = Lookup(world.submissions, quirks.hidden_session)
        links = Links(world.seed)
        pages = Pages(world.seed, quirks.short_pages)
        receipts = Receipts(world.submissions, quirks.upo_page_size, quirks.upo_delay_s)
        upo = ReceiptRoutes(lookup, receipts)
        exports = ExportRoutes(Exports(world.repository, settings, world.seed), keys, links)
        folders = {
            "invoice-package": (exports.read_part, "application/octet-stream"),
            "session-upo": (upo.read_session_page, "application/xml"),
            "invoice-upo": (upo.read_invoice, "application/xml"),
        }
        credentials = Credentials(world.taxpayers, quirks.owner_claim, quirks.token_days)
        groups = (
            AuthRoutes(self._operations, credentials, keys, self._signer, quirks.pending_polls),
            keys,
            LimitRoutes(self.limits),
            SessionRoutes(lookup, receipts, links, pages, quirks),
            InvoiceRoutes(lookup, links, pages, quirks),
            upo,
            exports,
            DownloadRoutes(links, folders, quirks.storage_refuses_tokens),
            ControlRoutes(world.taxpayers, self.clock),
        )
        return [route for group in groups for route in group.routes()]

    def schedule(self, faults: Iterable[Fault]) -> None:
        """Let these faults happen from now on, in place of earlier ones."""
        self._faults = Schedule(faults)

    @property
    def fired(self) -> Counter[str]:
        """How many requests met a fault of the schedule, by its kind."""
        return self._faults.fired

    def rotate_keys(self) -> None:
        """Withdraw all public keys and publish new ones: old ids give 21470."""
        with self._lock:
            self._keys.rotate()

    def revoke_logins(self) -> None:
        """Revoke every login so far, as the user can at KSeF (status 425)."""
        with self._lock:
            self._operations.revoke_all()

    def certificate_files(self, folder: Path) -> dict[str, list[CertificateFiles]]:
        """Write files that each taxpayer can log in with; the result is by NIP."""
        return write_certificate_files(folder, self.world.taxpayers, self.world.since)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        at = self.clock.now()
        try:
            route, arguments = self._matched(request)
        except HTTPException as error:
            # KSeF sends no body where no route is.
            response = Response(status=error.code, headers=_allowed(error))
        else:
            call = Call(request, at, self._claims(request, at))
            response = self._served(call, route, arguments)
        now = self.clock.now()
        response.headers["Date"] = http_date(now)
        response.headers.update(edge_headers(now, next(self._numbers)))
        warning = request.headers.get("X-Test-System-Warning")
        if warning:
            response.headers["X-System-Warning"] = _folded(warning)
        return response

    def _matched(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        """Find the route of a request. Raises HTTPException 404 or 405."""
        methods = self._methods.get(request.path)
        if methods and request.method not in methods:
            # Else GET /auth/challenge were the status of a login called "challenge".
            raise MethodNotAllowed(methods)
        matched: tuple[Route, Mapping[str, str]] = self._map.bind_to_environ(
            request.environ
        ).match()
        return matched

    def _served(self, call: Call, route: Route, arguments: Mapping[str, str]) -> Response:
        path = call.request.path
        status = 0
        try:
            faults = self._faults.due(path)
            if route.group != UNLIMITED and self._meets_firewall():
                faults.append(Fault("html"))
            answer = partial(self._admitted, call, route, arguments)
            response = apply(faults, answer, path=path, clock=self.clock)
            if self._quirks.null_fields:
                response = with_nulls(route.path, response)
            status = response.status_code
        except ApiError as error:
            response = self._refusal(error, call)
            status = response.status_code
        finally:
            self._remember(call, route, status)
        return response

    def _meets_firewall(self) -> bool:
        """Draw whether this request ends at the firewall; no limit counts it then."""
        chance = digest(self.world.seed, "firewall", next(self._draws))
        return happens(self._quirks.firewall_share, chance)

    def _refusal(self, error: ApiError, call: Call) -> Response:
        if isinstance(error, Unauthorized) and self._quirks.empty_403:
            return Response(status=403)
        as_problem = call.request.headers.get("X-Error-Format") == "problem-details"
        return error_answer(error, path=call.request.path, at=call.at, as_problem=as_problem)

    def _admitted(self, call: Call, route: Route, arguments: Mapping[str, str]) -> Response:
        with self._lock:
            self._admit(call, route)
            return route.answer(call, **arguments)

    def _admit(self, call: Call, route: Route) -> None:
        """Raise Unauthorized, TooManyRequests or Forbidden where the call may not go on."""
        if route.token and call.claims.get("typ") != route.token:
            raise Unauthorized
        if route.group not in (UNLIMITED, STORAGE):
            self.limits.count(call.context_id, call.address, route.group, at=call.at)
        if route.permissions and not set(route.permissions).intersection(call.permissions):
            raise Forbidden(route.permissions, call.permissions)

    def _claims(self, request: Request, at: datetime) -> Claims:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._signer.read(token, at=at) if scheme == "Bearer" else {}

    def _remember(self, call: Call, route: Route, status: int) -> None:
        request = call.request
        self.requests.append(
            Served(
                method=request.method,
                path=request.path,
                query=request.query_string.decode(),
                route=route.path,
                group=route.group.partition(":")[0],
                status=status,
                context_id=call.context_id,
                at=call.at,
                headers=dict(request.headers),
                body=request.get_data(),
            )
        )


def _allowed(error: HTTPException) -> list[tuple[str, Any]]:
    methods = getattr(error, "valid_methods", None)
    return [("Allow", ", ".join(sorted(methods)))] if methods else []


def _folded(warning: str) -> str:
    """Fold a header to ASCII; WSGI hands UTF-8 over as Latin-1."""
    text = warning.encode("latin-1").decode("utf-8", "replace").replace("ł", "l").replace("Ł", "L")
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
