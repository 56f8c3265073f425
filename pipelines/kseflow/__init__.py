"""Load what happened to the invoices you sent to KSeF, and say whether they got in.

`load`, `build`, `report` and `check` do what the commands of these names do; `ksef_source` is the
way in for dlt. What they raise on purpose is a `KsefError`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kseflow.api.client import KsefClient
    from kseflow.api.credentials import CertificateCredentials, TokenCredentials
    from kseflow.context import Context
    from kseflow.errors import KsefError
    from kseflow.loading.run import load
    from kseflow.loading.source import ksef_source
    from kseflow.marts.build import build_marts as build
    from kseflow.pages.html import write_report as report
    from kseflow.watch.check import check

__all__ = [
    "CertificateCredentials",
    "Context",
    "KsefClient",
    "KsefError",
    "TokenCredentials",
    "build",
    "check",
    "ksef_source",
    "load",
    "report",
]

_HOMES = {
    "CertificateCredentials": ("api.credentials", "CertificateCredentials"),
    "Context": ("context", "Context"),
    "KsefClient": ("api.client", "KsefClient"),
    "KsefError": ("errors", "KsefError"),
    "TokenCredentials": ("api.credentials", "TokenCredentials"),
    "build": ("marts.build", "build_marts"),
    "check": ("watch.check", "check"),
    "ksef_source": ("loading.source", "ksef_source"),
    "load": ("loading.run", "load"),
    "report": ("pages.html", "write_report"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: dlt alone takes more than a second, which `--help` need not pay."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kseflow' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(f"kseflow.{module}"), attribute)
