"""Load what happened to the invoices you sent to KSeF; `ksef_source` is the way in for dlt."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kseflow.api.client import KsefClient
    from kseflow.api.credentials import CertificateCredentials, TokenCredentials
    from kseflow.context import Context
    from kseflow.errors import KsefError
    from kseflow.loading.source import ksef_source

__all__ = [
    "CertificateCredentials",
    "Context",
    "KsefClient",
    "KsefError",
    "TokenCredentials",
    "ksef_source",
]

_HOMES = {
    "CertificateCredentials": "api.credentials",
    "Context": "context",
    "KsefClient": "api.client",
    "KsefError": "errors",
    "TokenCredentials": "api.credentials",
    "ksef_source": "loading.source",
}


def __getattr__(name: str) -> Any:
    """Import on first use: dlt alone takes more than a second, which `--help` need not pay."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kseflow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"kseflow.{_HOMES[name]}"), name)
