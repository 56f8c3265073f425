"""Certificates of the world's taxpayers, for logging in with a signature.

Self-signed seals, as KSeF's test environment accepts them: the subject carries the NIP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    pkcs12,
)

from ksef_emulator.identifiers import digest
from ksef_emulator.world.taxpayers import Taxpayer

KDF_ROUNDS = 1000
"""Of passwords printed beside the file; more would cost 20 ms for each taxpayer."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class CertificateFiles:
    """One way to log in; PKCS#12 keeps certificate and key in the same file."""

    kind: str
    certificate: Path
    key: Path
    password: str


@cache
def _private_key(kind: str) -> PrivateKey:
    # RSA keys are slow to make, so all taxpayers of a process share one; their seals differ.
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_certificate_files(
    folder: Path, taxpayers: Iterable[Taxpayer], since: datetime
) -> dict[str, list[CertificateFiles]]:
    """Write three certificates for each taxpayer: RSA and EC as PEM, RSA as PKCS#12.

    The result is by NIP. They are valid from a month before `since` for two years.
    """
    return {
        taxpayer.context_id: [
            _write_pem(folder, "rsa", taxpayer, since),
            _write_pem(folder, "ec", taxpayer, since),
            _write_pkcs12(folder, taxpayer, since),
        ]
        for taxpayer in taxpayers
    }


def self_signed(key: PrivateKey, nip: str, name: str, since: datetime) -> x509.Certificate:
    """Sign a seal certificate that names a NIP."""
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "PL"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_IDENTIFIER, f"VATPL-{nip}"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, name),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int(nip))
        .not_valid_before(since - timedelta(days=30))
        .not_valid_after(since + timedelta(days=700))
        .sign(key, hashes.SHA256())
    )


def _own(path: Path) -> Path:
    """Make a file its owner's alone, as a private key should be."""
    path.touch(mode=0o600)
    return path


def _write_pem(folder: Path, kind: str, taxpayer: Taxpayer, since: datetime) -> CertificateFiles:
    nip, password = taxpayer.context_id, _password(taxpayer, kind)
    key = _private_key(kind)
    encryption = BestAvailableEncryption(password.encode())
    files = CertificateFiles(
        kind, folder / f"{nip}-{kind}.crt", folder / f"{nip}-{kind}.key", password
    )
    certificate = self_signed(key, nip, taxpayer.name, since)
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    _own(files.key).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return files


def _write_pkcs12(folder: Path, taxpayer: Taxpayer, since: datetime) -> CertificateFiles:
    nip, password = taxpayer.context_id, _password(taxpayer, "pkcs12")
    key = _private_key("rsa")
    certificate = self_signed(key, nip, taxpayer.name, since)
    path = folder / f"{nip}.p12"
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(KDF_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.encode())
    )
    _own(path).write_bytes(
        pkcs12.serialize_key_and_certificates(nip.encode(), key, certificate, None, encryption)
    )
    return CertificateFiles("pkcs12", path, path, password)


def _password(taxpayer: Taxpayer, kind: str) -> str:
    return digest("password", taxpayer.context_id, kind).hex()[:12]
