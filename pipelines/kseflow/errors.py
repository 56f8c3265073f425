"""What can go wrong with our own calls. A rejected taxpayer invoice is a row, never an error.

KsefError
├── ConfigurationError   what was configured cannot work; nothing was sent
├── LoginFailed          KSeF refused the token or the certificate
├── RequestRejected      KSeF refused one request (HTTP 4xx), with its codes
│   └── AccessDenied     401 or 403: a permission, an address or a firewall stands in the way
├── Unavailable          no usable answer after all tries: network, 5xx
├── OutOfTime            the time box ends before KSeF takes the next request
├── ContractViolation    an answer that the official contract does not allow
├── CorruptDownload      a package or receipt that is not what KSeF said it would be
├── WarehouseError       the database is locked, read-only, full or of another environment
└── BuildFailed          a model or a test of the SQL models failed (in build.py)
"""

import re
from reprlib import Repr

__all__ = [
    "AccessDenied",
    "ConfigurationError",
    "ContractViolation",
    "CorruptDownload",
    "KsefError",
    "LoginFailed",
    "OutOfTime",
    "RequestRejected",
    "Unavailable",
    "WarehouseError",
]


# What a terminal obeys, or shows in another order than it is written in.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LONGEST = 2_000  # characters of a message; what KSeF said may be long
_short = Repr()
_short.maxstring = _short.maxother = 100


def without_controls(text: str) -> str:
    """Return the words of others with what a terminal would obey written out."""
    return CONTROLS.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def plain(text: str) -> str:
    """Return the words of others without what a terminal would obey, and not too long."""
    return without_controls(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def shown(value: object) -> str:
    """Return a value of anybody's, of any size and depth, as a message may show it."""
    return plain(_short.repr(value))


class KsefError(Exception):
    """The root: catch it to catch all that kseflow raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class ConfigurationError(KsefError):
    """What was configured cannot work; the message says what to change."""


class LoginFailed(KsefError):
    """KSeF refused the token or the certificate; the message holds its status and details."""


class Unavailable(KsefError):
    """KSeF gave no usable answer after all tries."""


class OutOfTime(KsefError):
    """The time box ends before the next request may go out, in `wait_s` seconds."""

    def __init__(self, message: str, *, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class ContractViolation(KsefError):
    """An answer that the official contract does not allow; the message names the field."""


class CorruptDownload(KsefError):
    """A package or receipt with a wrong hash, size, key or content; nothing of it was kept."""


class WarehouseError(KsefError):
    """The database is locked, read-only, full or holds another environment's data."""


class RequestRejected(KsefError):
    """KSeF refused one request: `status` is HTTP's, `codes` are KSeF's own, often empty."""

    def __init__(self, message: str, *, status: int, codes: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes

    @property
    def is_of_one_session(self) -> bool:
        """Tell whether KSeF keeps back one session, which says nothing of the others."""
        return 21173 in self.codes or "insufficient-resource-access" in str(self)


class AccessDenied(RequestRejected):
    """401 or 403: the login, its permissions, the client's address or a firewall."""
