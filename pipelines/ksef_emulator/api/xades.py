"""Signed login requests: read what the signature covers and check it against the schema's rules.

Source: POST /auth/xades-signature, auth/schemy/schemat_auth_v2-1.xsd
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from lxml import etree
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration
from signxml.xades.xades import XAdESVerifier

from ksef_emulator.api.errors import BadRequest

NAMESPACES = ("http://ksef.mf.gov.pl/auth/token/2.0", "http://ksef.mf.gov.pl/auth/token/2.1")
SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"
CERTIFICATE = ".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate"

CHALLENGE = r"\d{8}-CR-[A-F0-9]{10}-[A-F0-9]{10}-[A-F0-9]{2}"
CONTEXTS = {
    "Nip": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}",
    "InternalId": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}-\d{5}",
    "NipVatUe": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}-[A-Z]{2}[A-Z0-9+*]{2,13}",
    "PeppolId": r"P[A-Z]{2}[0-9]{6}",
}
SUBJECT_TYPES = ("certificateSubject", "certificateFingerprint")

# On malformed signatures signxml stumbles in these ways besides its own exceptions.
MALFORMED = (
    SignXMLException,
    etree.LxmlError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
)

_NIP_IN_SUBJECT = re.compile(r"(?:VATPL|TINPL)-(\d{10})")


@dataclass(frozen=True)
class SignedRequest:
    """A login request whose signature holds; `nip` is the signer's, None if it shows none."""

    challenge: str
    context: tuple[str, str]
    nip: str | None


def read_signed_request(document: bytes, *, at: datetime) -> SignedRequest:
    """Verify a signed AuthTokenRequest at a moment.

    Raises BadRequest: 21001 not XML, 9102 and 9103 number of signatures, 9101 another document,
    21401 against the schema, 21115 certificate, 9105 signature.
    """
    root = _parse(document)
    signatures = root.findall(SIGNATURE)
    if not signatures:
        raise BadRequest(9102)
    if len(signatures) > 1:
        raise BadRequest(9103)
    _check_schema(root)
    certificate = _certificate(signatures[0], at)
    signed = _verified(document, certificate, at)
    namespace = "{" + etree.QName(signed).namespace + "}"
    context = signed.find(f"{namespace}ContextIdentifier")[0]
    by_subject = signed.findtext(f"{namespace}SubjectIdentifierType") == "certificateSubject"
    return SignedRequest(
        challenge=signed.findtext(f"{namespace}Challenge"),
        context=(etree.QName(context).localname, context.text),
        nip=_nip(certificate) if by_subject else None,
    )


def _parse(document: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        return etree.fromstring(document, parser)
    except etree.XMLSyntaxError:
        raise BadRequest(21001) from None


def _check_schema(root: Any) -> None:
    """Check the names, order and values of AuthTokenRequest. Raises BadRequest 9101 or 21401."""
    root_name = etree.QName(root)
    if root_name.localname != "AuthTokenRequest" or root_name.namespace not in NAMESPACES:
        raise BadRequest(9101)
    children = [child for child in root if isinstance(child.tag, str) and child.tag != SIGNATURE]
    names = [etree.QName(child).localname for child in children]
    expected = ["Challenge", "ContextIdentifier", "SubjectIdentifierType"]
    if names not in (expected, [*expected, "AuthorizationPolicy"]):
        raise BadRequest(
            21401, f"The element 'AuthTokenRequest' has invalid child elements {names}."
        )
    challenge, context, subject_type = children[:3]
    _check_value("Challenge", challenge.text, CHALLENGE)
    _check_value("SubjectIdentifierType", subject_type.text, "|".join(SUBJECT_TYPES))
    kinds = [etree.QName(child).localname for child in context]
    if len(kinds) != 1 or kinds[0] not in CONTEXTS:
        raise BadRequest(21401, "The element 'ContextIdentifier' has incomplete content.")
    _check_value(kinds[0], context[0].text, CONTEXTS[kinds[0]])


def _check_value(name: str, value: str | None, pattern: str) -> None:
    if not re.fullmatch(pattern, value or ""):
        raise BadRequest(
            21401,
            f"The '{name}' element is invalid - The value '{value}' is invalid according to its"
            " datatype - The Pattern constraint failed.",
        )


def _certificate(signature: Any, at: datetime) -> x509.Certificate:
    try:
        der = b64decode(signature.findtext(CERTIFICATE) or "")
        certificate = x509.load_der_x509_certificate(der)
    except ValueError:
        raise BadRequest(21115) from None
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise BadRequest(21115)
    return certificate


def _verified(document: bytes, certificate: x509.Certificate, at: datetime) -> Any:
    """Return the request as the signature covers it. Raises BadRequest 9105."""
    config = SignatureConfiguration(location="./", expect_references=True, verification_time=at)
    try:
        results = XAdESVerifier().verify(document, x509_cert=certificate, expect_config=config)
    except MALFORMED:
        raise BadRequest(9105) from None
    for result in results:
        signed = result.signed_xml
        if signed is not None and etree.QName(signed).localname == "AuthTokenRequest":
            return signed
    raise BadRequest(9105)


def _nip(certificate: x509.Certificate) -> str | None:
    for attribute in certificate.subject:
        match = _NIP_IN_SUBJECT.fullmatch(str(attribute.value))
        if match:
            return match[1]
    return None
