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


class KsefError(Exception):
    """The root: catch it to catch all that kseflow raises on purpose."""


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


class AccessDenied(RequestRejected):
    """401 or 403: the login, its permissions, the client's address or a firewall."""
