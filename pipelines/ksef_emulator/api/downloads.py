"""Storage links: blobs outside the API, for whoever holds a signed address.

An address names its blob, whose it is and until when it holds; its signature covers all three.
The blob store wants no token, and refuses a request that shows one.

Source: partial URLs in GET /invoices/exports/{referenceNumber}; errors as Azure blob storage's
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from urllib.parse import quote, urlencode
from uuid import UUID

from werkzeug.wrappers import Response

from ksef_emulator.api.calls import Call, Route
from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import digest, sha256_base64

CONTAINERS = {"session-upo": "01", "invoice-upo": "01", "invoice-package": "06"}
"""The number in the path of an address, by folder."""

STORAGE = "storage"
"""The group of requests for blobs; no limit holds."""

UPO_LIFETIME = timedelta(days=3)
KEY_LIFETIME = timedelta(days=7)
"""Addresses are signed with a key that the store delegated for so long."""

STARTS_EARLIER = timedelta(minutes=5)
VERSION = "2025-01-05"
SIGNED = ("skoid", "sktid", "skt", "ske", "sks", "skv", "sv", "st", "se", "sr", "sp")
NOT_AUTHENTICATED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is"
    " formed correctly including the signature."
)
NO_TOKENS = (
    "Authentication information is not given in the correct format. Check the value of"
    " Authorization header."
)

Read = Callable[[Call, str, str, str], bytes | None]
"""Find a blob by context, reference number and file name; None where there is none."""


class Links:
    """Sign addresses of blobs and check them; no two addresses are alike."""

    def __init__(self, seed: int) -> None:
        self._secret = digest(seed, "storage secret")
        self._numbers = count()

    def sign(self, call: Call, path: str, until: datetime, root: str | None = None) -> str:
        """Return the address of a blob of the caller's, valid until a moment."""
        day = call.at.replace(hour=0, minute=0, second=0)
        query = {
            "skoid": str(UUID(bytes=digest("skoid", next(self._numbers))[:16])),
            "sktid": str(UUID(int=int(call.context_id))),
            "skt": _second(day),
            "ske": _second(day + KEY_LIFETIME),
            "sks": "b",
            "skv": VERSION,
            "sv": VERSION,
            "st": _second(call.at - STARTS_EARLIER),
            "se": _second(until),
            "sr": "b",
            "sp": "r",
        }
        query["sig"] = self._signature(path, query)
        container = CONTAINERS[path.split("/")[1]]
        return f"{root or call.root}/storage/{container}/{quote(path)}?{urlencode(query)}"

    def of_upo(self, call: Call, path: str) -> tuple[str, datetime]:
        """Sign the address of a receipt anew; return it and until when it holds."""
        until = call.at + UPO_LIFETIME
        return self.sign(call, path, until), until

    def is_signed(self, path: str, query: Mapping[str, str]) -> bool:
        signature = self._signature(path, query)
        return hmac.compare_digest(signature.encode(), query.get("sig", "").encode())

    def _signature(self, path: str, query: Mapping[str, str]) -> str:
        signed = "\n".join([path, *(query.get(name, "") for name in SIGNED)])
        return b64encode(hmac.digest(self._secret, signed.encode(), "sha256")).decode()


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class DownloadRoutes:
    """Hand out blobs; `folders` says how those of a folder are read, and their content type.

    With `refuses_tokens` a request that shows an Authorization header fails.
    """

    links: Links
    folders: Mapping[str, tuple[Read, str]]
    refuses_tokens: bool

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/storage/<container>/<path:path>", self.download, STORAGE),)

    def download(self, call: Call, container: str, path: str) -> Response:
        """Answer GET /storage/… with a blob, or a range of it."""
        query = call.request.args
        if "Authorization" in call.request.headers and self.refuses_tokens:
            return _refused(call, 400, "InvalidAuthenticationInfo", NO_TOKENS)
        if not self.links.is_signed(path, query) or call.at > datetime.fromisoformat(query["se"]):
            return _refused(call, 403, "AuthenticationFailed", NOT_AUTHENTICATED)
        reference, folder, name = path.split("/")
        if container != CONTAINERS[folder]:
            return _refused(
                call, 404, "ContainerNotFound", "The specified container does not exist."
            )
        read, content_type = self.folders[folder]
        content = read(call, f"{UUID(query['sktid']).int:010d}", reference.upper(), name)
        if content is None:
            return _refused(call, 404, "BlobNotFound", "The specified blob does not exist.")
        response = Response(content, content_type=content_type)
        response.headers["x-ms-meta-hash"] = sha256_base64(content)
        return response.make_conditional(
            call.request, accept_ranges=True, complete_length=len(content)
        )


def _refused(call: Call, status: int, code: str, message: str) -> Response:
    """Write an error as Azure does."""
    request_id = UUID(bytes=digest(call.request.url, call.at)[:16])
    body = (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>{message}\nRequestId:{request_id}\nTime:{iso_ticks(to_ticks(call.at))[:-6]}Z</Message></Error>"
    )
    headers = {"x-ms-request-id": str(request_id), "x-ms-error-code": code}
    return Response(body, status=status, headers=headers, content_type="application/xml")
