"""Signed login requests: read what the signature covers and check it against the schema's rules.

Source: POST /auth/xades-signature, auth/schemy/schemat_auth_v2-1.xsd, auth/podpis-xades.md
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from lxml import etree

from ksef_emulator.api.credentials import Subject
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.signatures import DSIG, MALFORMED, SIGNATURE, signed_parts

NAMESPACES = ("http://ksef.mf.gov.pl/auth/token/2.0", "http://ksef.mf.gov.pl/auth/token/2.1")
CERTIFICATE = f".//{{{DSIG}}}X509Certificate"
OBJECT = f"{{{DSIG}}}Object"

CHALLENGE = r"\d{8}-CR-[A-F0-9]{10}-[A-F0-9]{10}-[A-F0-9]{2}"
CONTEXTS = {
    "Nip": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}",
    "InternalId": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}-\d{5}",
    "NipVatUe": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}-[A-Z]{2}[A-Z0-9+*]{2,13}",
    "PeppolId": r"P[A-Z]{2}[0-9]{6}",
}
SUBJECT_TYPES = ("certificateSubject", "certificateFingerprint")

# As in the documents, where they are searched for, not matched in full.
IDENTIFIERS = (
    (NameOID.SERIAL_NUMBER, r"(?:PNOPL|PESEL).*?(\d{11})", "Pesel"),
    (NameOID.SERIAL_NUMBER, r"(?:TINPL|NIP).*?(\d{10})", "Nip"),
    (NameOID.ORGANIZATION_IDENTIFIER, r"VATPL.*?(\d{10})", "Nip"),
)
PERSONAL = {NameOID.GIVEN_NAME, NameOID.SURNAME}


@dataclass(frozen=True)
class SignedRequest:
    """A login request whose signature holds; `method` is the claim `aum` of such a login."""

    challenge: str
    context: tuple[str, str]
    subject: Subject
    method: str


def read_signed_request(document: bytes, *, at: datetime) -> SignedRequest:
    """Verify a signed AuthTokenRequest, around its signature or within, at a moment.

    Raises BadRequest: 21001 not XML, 9102 and 9103 number of signatures, 9101 another document,
    21401 against the schema, 21115 certificate, 9105 signature.
    """
    root = _parse(document)
    signatures = [root] if root.tag == SIGNATURE else root.findall(SIGNATURE)
    if not signatures:
        raise BadRequest(9102)
    if len(signatures) > 1:
        raise BadRequest(9103)
    _check_schema(_request(root))
    certificate = _certificate(signatures[0], at)
    signed = _verified(document, certificate, at)
    _check_schema(signed)
    namespace = "{" + etree.QName(signed).namespace + "}"
    context = _elements(signed.find(f"{namespace}ContextIdentifier"))[0]
    by_subject = signed.findtext(f"{namespace}SubjectIdentifierType") == "certificateSubject"
    subject = (by_subject and _named(certificate)) or _fingerprint(certificate)
    return SignedRequest(
        challenge=signed.findtext(f"{namespace}Challenge"),
        context=(etree.QName(context).localname, context.text),
        subject=subject,
        method="QualifiedSignature" if _is_personal(certificate) else "QualifiedSeal",
    )


def _parse(document: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        return etree.fromstring(document, parser)
    except etree.XMLSyntaxError:
        raise BadRequest(21001) from None


def _request(part: Any) -> Any:
    """Return the request in a part of a document: itself, or what a ds:Object holds.

    Raises BadRequest 9101, or 21001 for an object whose text is no XML in base64.
    """
    if part.tag == SIGNATURE:
        # The other objects of a signature hold its properties.
        objects = [o for o in part.findall(OBJECT) if _is_request_or_text(o)]
        if len(objects) != 1:
            raise BadRequest(9101)
        part = objects[0]
    if part.tag == OBJECT:
        held = _elements(part)
        part = held[0] if held else _parse(_decoded(part.text))
    name = etree.QName(part)
    if name.localname != "AuthTokenRequest" or name.namespace not in NAMESPACES:
        raise BadRequest(9101)
    return part


def _is_request_or_text(held: Any) -> bool:
    elements = _elements(held)
    return not elements or etree.QName(elements[0]).localname == "AuthTokenRequest"


def _elements(parent: Any) -> list[Any]:
    """Return the children that are neither comments nor instructions."""
    return [child for child in parent if isinstance(child.tag, str)]


def _decoded(text: str | None) -> bytes:
    try:
        return b64decode(text or "")
    except ValueError:
        raise BadRequest(21001) from None


def _check_schema(root: Any) -> None:
    """Check the names, order and values of AuthTokenRequest. Raises BadRequest 21401."""
    children = [child for child in _elements(root) if child.tag != SIGNATURE]
    names = [etree.QName(child).localname for child in children]
    expected = ["Challenge", "ContextIdentifier", "SubjectIdentifierType"]
    if names not in (expected, [*expected, "AuthorizationPolicy"]):
        raise BadRequest(
            21401, f"The element 'AuthTokenRequest' has invalid child elements {names}."
        )
    challenge, context, subject_type = children[:3]
    _check_value("Challenge", challenge.text, CHALLENGE)
    _check_value("SubjectIdentifierType", subject_type.text, "|".join(SUBJECT_TYPES))
    kinds = [etree.QName(child).localname for child in _elements(context)]
    if len(kinds) != 1 or kinds[0] not in CONTEXTS:
        raise BadRequest(21401, "The element 'ContextIdentifier' has incomplete content.")
    _check_value(kinds[0], _elements(context)[0].text, CONTEXTS[kinds[0]])


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
    try:
        parts = signed_parts(document, certificate, at)
    except MALFORMED:
        raise BadRequest(9105) from None
    for part in parts:
        try:
            return _request(part)
        except BadRequest:
            continue
    raise BadRequest(9105)


def _named(certificate: x509.Certificate) -> Subject | None:
    """Return whom the subject of a certificate identifies, None where it identifies nobody."""
    for oid, pattern, kind in IDENTIFIERS:
        if oid == NameOID.ORGANIZATION_IDENTIFIER and _is_personal(certificate):
            continue
        for attribute in certificate.subject.get_attributes_for_oid(oid):
            found = re.search(pattern, str(attribute.value), re.ASCII)
            if found:
                organization = _first(certificate, NameOID.ORGANIZATION_NAME)
                return Subject(kind, found[1], _common_name(certificate), organization)
    return None


def _fingerprint(certificate: x509.Certificate) -> Subject:
    digest = certificate.fingerprint(hashes.SHA256()).hex().upper()
    return Subject("Fingerprint", digest, _common_name(certificate))


def _is_personal(certificate: x509.Certificate) -> bool:
    """Tell a signature's certificate from a seal's, which names nobody's person."""
    return any(attribute.oid in PERSONAL for attribute in certificate.subject)


def _common_name(certificate: x509.Certificate) -> str:
    return _first(certificate, NameOID.COMMON_NAME) or ""


def _first(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    values = (str(a.value) for a in certificate.subject.get_attributes_for_oid(oid))
    return next(values, None)
