"""KSeF's public keys, which encrypt tokens and the keys of exports.

Source: GET /security/public-key-certificates
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kseflow.errors import ContractViolation

Key = dict[str, Any]


class PublicKeys:
    """The keys of one environment, asked for once for all taxpayers until one is withdrawn."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._lock = asyncio.Lock()

    async def newest(
        self, usage: str, now: datetime, ask: Callable[[], Awaitable[list[Key]]]
    ) -> Key:
        """Return the newest key for a usage, from `ask` where no valid one is known."""
        async with self._lock:
            try:
                return newest_key(self._keys, usage, now)
            except ContractViolation:
                self._keys = await ask()
                return newest_key(self._keys, usage, now)

    def withdraw(self, key: Key) -> None:
        """Forget the keys if this one, which KSeF no longer takes, is still among them."""
        if key in self._keys:
            self._keys = []


def newest_key(keys: list[Key], usage: str, now: datetime) -> Key:
    """Return the key for `usage` that is valid at `now` and has the newest `validFrom`."""
    try:
        valid = [
            key
            for key in keys
            if usage in key["usage"]
            and datetime.fromisoformat(key["validFrom"]) <= now
            and now <= datetime.fromisoformat(key["validTo"])
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ContractViolation(
            f"GET /security/public-key-certificates: unexpected answer ({error!r})"
        ) from None
    if not valid:
        raise ContractViolation(f"KSeF offers no valid public key for {usage}")
    return max(valid, key=lambda key: datetime.fromisoformat(key["validFrom"]))


def encrypted(content: bytes, key: Key) -> str:
    """Encrypt for KSeF with one of its public keys: RSA-OAEP with SHA-256, Base64.

    Raises `ContractViolation` when that is no RSA key.
    """
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(key["certificate"]))
        public_key = certificate.public_key()
        if isinstance(public_key, rsa.RSAPublicKey):
            return base64.b64encode(public_key.encrypt(content, oaep)).decode()
    except (KeyError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ContractViolation(f"KSeF's public key cannot be used ({error!r})") from None
    raise ContractViolation("KSeF offers no RSA key; update kseflow")
