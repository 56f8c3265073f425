"""KSeF's public keys: self-signed certificates with a usage and a validity, rotated at will.

Source: GET /security/public-key-certificates, klucze-publiczne-do-szyfrowania.md
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from werkzeug.wrappers import Response

from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import Call, Route
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.clock import iso_seconds, to_ticks

TOKEN_USAGE, SYMMETRIC_USAGE = "KsefTokenEncryption", "SymmetricKeyEncryption"
SUBJECT = x509.Name(
    [
        x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "PL"),
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Ministerstwo Finansów"),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "KSeF (emulator)"),
    ]
)
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


@cache
def _private_key(number: int) -> rsa.RSAPrivateKey:
    # Keys are slow to make, so all emulators of a process share them.
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class PublicKey:
    """One key pair with the certificate that is published for it."""

    private_key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    usage: str

    @property
    def public_key_id(self) -> str:
        spki = self.private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        return b64encode(sha256(spki).digest()).decode()

    def valid_at(self, at: datetime) -> bool:
        return self.certificate.not_valid_before_utc <= at < self.certificate.not_valid_after_utc

    def row(self) -> dict[str, Any]:
        der = self.certificate.public_bytes(Encoding.DER)
        return {
            "certificate": b64encode(der).decode(),
            "certificateId": b64encode(sha256(der).digest()).decode(),
            "publicKeyId": self.public_key_id,
            "validFrom": iso_seconds(to_ticks(self.certificate.not_valid_before_utc)),
            "validTo": iso_seconds(to_ticks(self.certificate.not_valid_after_utc)),
            "usage": [self.usage],
        }


class PublicKeys:
    """Publish three keys a usage: an expired, an older and the newest one."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._generation = 0
        self._published: list[PublicKey] = []

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/v2/security/public-key-certificates", self.show),)

    def show(self, call: Call) -> Response:
        """Answer GET /security/public-key-certificates."""
        return json_answer([key.row() for key in self.published()])

    def published(self) -> list[PublicKey]:
        if not self._published:
            self._published = self._generate()
        return self._published

    def rotate(self) -> None:
        """Withdraw all keys at once, as after an incident, and publish new ones."""
        self._generation += 1
        self._published = []

    def decrypt(
        self, encrypted: bytes, public_key_id: str | None, *, at: datetime, usage: str = TOKEN_USAGE
    ) -> bytes:
        """Decrypt what was encrypted for a usage.

        Without an id every valid key is tried. Raises BadRequest 21470 for an unknown, expired
        or withdrawn id, ValueError when nothing fits.
        """
        keys = [k for k in self.published() if k.usage == usage and k.valid_at(at)]
        if public_key_id is not None:
            keys = [key for key in keys if key.public_key_id == public_key_id]
            if not keys:
                raise BadRequest(
                    21470, f"Klucz o identyfikatorze {public_key_id} nie jest wspierany."
                )
        for key in keys:
            try:
                return key.private_key.decrypt(encrypted, OAEP)
            except ValueError:
                continue
        raise ValueError("encrypted with none of the valid keys")

    def _generate(self) -> list[PublicKey]:
        validities = ((-800, -70), (-400, 330), (-40, 690))
        first = self._generation * len(validities) * 2
        slots = [(usage, span) for span in validities for usage in (TOKEN_USAGE, SYMMETRIC_USAGE)]
        return [
            self._sign(first + number, usage, span) for number, (usage, span) in enumerate(slots)
        ]

    def _sign(self, number: int, usage: str, days: tuple[int, int]) -> PublicKey:
        key = _private_key(number)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(SUBJECT)
            .issuer_name(SUBJECT)
            .public_key(key.public_key())
            .serial_number(number + 1)
            .not_valid_before(self._since + timedelta(days=days[0]))
            .not_valid_after(self._since + timedelta(days=days[1]))
            .sign(key, hashes.SHA256())
        )
        return PublicKey(key, certificate, usage)
