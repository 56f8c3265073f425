"""Where KSeF is, and how it is reached."""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kseflow.constants import ENVIRONMENTS
from kseflow.errors import ConfigurationError


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


def proxy_of(url: str) -> str | None:
    """Return the proxy set in HTTPS_PROXY or HTTP_PROXY that leads to `url`, if any.

    httpx itself looks for a proxy only where it also chooses the transport.
    """
    parts = urlsplit(url)
    is_direct = is_loopback(url) or proxy_bypass(parts.hostname or "")
    return None if is_direct else getproxies().get(parts.scheme)
