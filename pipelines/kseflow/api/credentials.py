"""Who logs in: a context (the taxpayer) with a KSeF token or a certificate."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from lxml import etree

from kseflow.api.answers import Call
from kseflow.api.keys import encrypted
from kseflow.constants import LONGEST_TOKEN, TOKENS_END
from kseflow.context import Context
from kseflow.errors import ConfigurationError

Json = dict[str, Any]
Term = tuple[datetime | None, datetime | None]  # from when, until when (UTC)
TOKEN_NAME = re.compile(r"(\d{8})-EC-")

AUTH_NAMESPACE = "http://ksef.mf.gov.pl/auth/token/2.1"


@dataclass(frozen=True)
class TokenCredentials:
    """A KSeF token; give it the permissions Introspection (and InvoiceRead for exports)."""

    context: Context
    token: str = field(repr=False)
    ends_at: datetime | None = None

    kind: ClassVar = "token"
    key_usage: ClassVar = "KsefTokenEncryption"

    def term(self, now: datetime) -> Term:
        """Return when the token was made, by its name, and ends, as far as that can be known."""
        named = TOKEN_NAME.match(self.token)
        try:
            made_at = datetime.strptime(named[1], "%Y%m%d").replace(tzinfo=UTC) if named else None
        except ValueError:
            made_at = None
        ends_at = TOKENS_END if now < TOKENS_END else made_at and made_at + LONGEST_TOKEN
        return made_at, self.ends_at or ends_at

    def login_call(self, challenge: Json, key: Json, now: datetime) -> Call:
        """Return the request that begins a login: the token, encrypted with KSeF's `key`.

        Source: POST /auth/ksef-token
        """
        timestamped = f"{self.token}|{challenge['timestampMs']}".encode()
        body = {
            "challenge": challenge["challenge"],
            "contextIdentifier": {"type": self.context.type, "value": self.context.id},
            "encryptedToken": encrypted(timestamped, key),
        }
        if "publicKeyId" in key:
            body["publicKeyId"] = key["publicKeyId"]
        return Call("POST", "/auth/ksef-token", "anonymous", body={"json": body})


@dataclass(frozen=True)
class CertificateCredentials:
    """A certificate with its private key, RSA or EC, that signs the login document (XAdES)."""

    context: Context
    certificate: x509.Certificate = field(repr=False)
    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)
    key_file: Path | None = None  # where the private key was read

    @classmethod
    def from_files(
        cls,
        context: Context,
        certificate: Path,
        *,
        private_key: Path | None = None,
        password: str | None = None,
    ) -> "CertificateCredentials":
        """Read PEM files (certificate and key, one file or two) or one PKCS#12 file.

        Raises `ConfigurationError` when a file is missing, of another kind, or the password wrong.
        """
        secret = password.encode() if password else None
        key_file = private_key or certificate
        if certificate.suffix.lower() in (".p12", ".pfx"):
            key, cert = _read_pkcs12(certificate, secret)
        else:
            cert = _read_pem_certificate(certificate)
            key = _read_pem_key(key_file, secret)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"the key of {certificate} is neither RSA nor EC")
        if key.public_key() != cert.public_key():
            raise ConfigurationError(f"the private key does not belong to {certificate}")
        return cls(context, cert, key, key_file)

    kind: ClassVar = "certificate"
    key_usage: ClassVar = None

    def term(self, now: datetime) -> Term:
        """Return when the certificate begins and ends (UTC)."""
        return self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc

    def login_call(self, challenge: Json, key: None, now: datetime) -> Call:
        """Return the request that begins a login: the challenge, signed.

        Raises `ConfigurationError` when the certificate is not valid at `now`.
        Source: POST /auth/xades-signature
        """
        self._check_validity(now)
        document = self._signed_login(challenge["challenge"])
        headers = {"Content-Type": "application/xml"}
        body = {"content": document, "headers": headers}
        return Call("POST", "/auth/xades-signature", "anonymous", body=body)

    def _check_validity(self, now: datetime) -> None:
        """Raise `ConfigurationError` when the certificate is not valid at `now`."""
        begins, ends = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if not begins <= now <= ends:
            raise ConfigurationError(
                f"the certificate of {self.context} is valid from {begins:%Y-%m-%d} "
                f"to {ends:%Y-%m-%d}; renew it in the taxpayer application"
            )

    def _signed_login(self, challenge: str) -> bytes:
        """Return the AuthTokenRequest for `challenge` with an enveloped XAdES signature."""
        from signxml.algorithms import CanonicalizationMethod, SignatureMethod
        from signxml.xades.xades import XAdESSigner

        is_rsa = isinstance(self.private_key, rsa.RSAPrivateKey)
        signer = XAdESSigner(
            signature_algorithm=(
                SignatureMethod.RSA_SHA256 if is_rsa else SignatureMethod.ECDSA_SHA256
            ),
            # References without transforms are digested in this form, whatever is said here: with
            # another one signxml's digests of SignedProperties fit no verifier, its own included.
            c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0,
        )
        signed = signer.sign(
            self._login_document(challenge),
            key=self.private_key,
            cert=self.certificate.public_bytes(serialization.Encoding.PEM).decode(),
        )
        document: bytes = etree.tostring(signed, xml_declaration=True, encoding="utf-8")
        return document

    def _login_document(self, challenge: str) -> Any:
        root = etree.Element(f"{{{AUTH_NAMESPACE}}}AuthTokenRequest", nsmap={None: AUTH_NAMESPACE})
        etree.SubElement(root, f"{{{AUTH_NAMESPACE}}}Challenge").text = challenge
        identifier = etree.SubElement(root, f"{{{AUTH_NAMESPACE}}}ContextIdentifier")
        etree.SubElement(
            identifier, f"{{{AUTH_NAMESPACE}}}{self.context.type}"
        ).text = self.context.id
        subject = etree.SubElement(root, f"{{{AUTH_NAMESPACE}}}SubjectIdentifierType")
        subject.text = "certificateSubject"
        return root


Credentials = TokenCredentials | CertificateCredentials


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def _read_pem_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise ConfigurationError(
            f"{path} holds no PEM certificate; PKCS#12 files need the ending .p12 or .pfx"
        ) from None


def _read_pem_key(path: Path, password: bytes | None) -> object:
    content = _read(path)
    try:
        return serialization.load_pem_private_key(content, password)
    except TypeError:
        if password:  # given for a key that is not encrypted
            return serialization.load_pem_private_key(content, None)
        raise ConfigurationError(f"the key in {path} is encrypted: set its password") from None
    except ValueError:
        if b"PRIVATE KEY-----" not in content:
            raise ConfigurationError(
                f"{path} holds no private key in PEM; say with private_key which file does"
            ) from None
        raise ConfigurationError(
            f"cannot read the private key in {path}: the password is wrong, or it is no PEM key"
        ) from None


def _read_pkcs12(path: Path, password: bytes | None) -> tuple[object, x509.Certificate]:
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(_read(path), password)
    except ValueError:
        raise ConfigurationError(
            f"cannot open {path}: the password is wrong, or it is no PKCS#12 file"
        ) from None
    if key is None or certificate is None:
        raise ConfigurationError(f"{path} lacks the certificate or its private key")
    return key, certificate
