"""Where KSeF is, how it is reached, and what may become part of a path."""

import re
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kseflow.constants import ENVIRONMENTS
from kseflow.errors import ConfigurationError, ContractViolation, shown

REFERENCE = re.compile(r"[0-9A-Za-z-]{1,64}")


def base_url_of(environment: str) -> str:
    """Return the base URL of a named environment, or check a given one.

    Raises `ConfigurationError` for unknown names, and for plain HTTP except on loopback.
    """
    if environment in ENVIRONMENTS:
        return ENVIRONMENTS[environment]
    url = urlsplit(environment)
    # A user and password in it are of no use to KSeF, and would be stored and shown.
    plain = url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="")
    base_url = plain.geturl().rstrip("/")
    if not url.hostname or url.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"unknown environment {base_url!r}; use {', '.join(ENVIRONMENTS)} or a base URL"
        )
    if url.scheme == "http" and not is_loopback(environment):
        raise ConfigurationError(
            f"{base_url} is plain HTTP, which would show your token to the network; use https"
        )
    if not base_url.endswith("/v2"):
        raise ConfigurationError(
            f"the base URL {base_url} does not end with the API's version; write {base_url}/v2"
        )
    return base_url


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine, as an emulator's does."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def proxy_of(url: str) -> str | None:
    """Return the proxy set in HTTPS_PROXY or HTTP_PROXY that leads to `url`, if any.

    One without a scheme is reached by HTTP, as by other programs.
    httpx itself looks for a proxy only where it also chooses the transport.
    """
    parts = urlsplit(url)
    is_direct = is_loopback(url) or proxy_bypass(parts.hostname or "")
    proxy = None if is_direct else getproxies().get(parts.scheme)
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def usable_proxy_of(url: str) -> str | None:
    """Return what `proxy_of` does. Raises `ConfigurationError` for what is no proxy's address.

    Without showing it: it may hold a password.
    """
    proxy = proxy_of(url)
    if proxy is not None and not _is_proxy(proxy):
        raise ConfigurationError(
            f"{urlsplit(url).scheme.upper()}_PROXY is no address of an HTTP proxy; "
            "write http://host:port or https://host:port"
        )
    return proxy


def _is_proxy(address: str) -> bool:
    import httpx

    try:
        found = httpx.URL(address)
    except httpx.InvalidURL:
        return False
    return found.scheme in ("http", "https") and bool(found.host)


def reference(text: object) -> str:
    """Return a reference or number of KSeF's that may become part of a path, of a URL or a file.

    Raises `ContractViolation` for what could be anything else.
    """
    if isinstance(text, str) and REFERENCE.fullmatch(text):
        return text
    raise ContractViolation(f"{shown(text)} is no reference or number of KSeF's")


def path_of(form: str, *references: object) -> str:
    """Put references into a path; raises `ContractViolation` for what is none."""
    return form.format(*map(reference, references))
