"""Signing login requests in every form that KSeF lists, without the library that verifies them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

DSIG = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
MORE, MORE_2007 = (
    "http://www.w3.org/2001/04/xmldsig-more#",
    "http://www.w3.org/2007/05/xmldsig-more#",
)
MORE_2021 = "http://www.w3.org/2021/04/xmldsig-more#"
XMLENC = "http://www.w3.org/2001/04/xmlenc#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = f'<ds:Transform Algorithm="{DSIG}enveloped-signature"/>'

DIGESTS: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "sha1": (f"{DSIG}sha1", hashes.SHA1()),
    "sha256": (f"{XMLENC}sha256", hashes.SHA256()),
    "sha384": (f"{MORE}sha384", hashes.SHA384()),
    "sha512": (f"{XMLENC}sha512", hashes.SHA512()),
    "sha3-256": (f"{MORE_2007}sha3-256", hashes.SHA3_256()),
    "sha3-384": (f"{MORE_2007}sha3-384", hashes.SHA3_384()),
    "sha3-512": (f"{MORE_2007}sha3-512", hashes.SHA3_512()),
}


def c14n(algorithm: str) -> str:
    return f'<ds:Transform Algorithm="{algorithm}"/>'


def xpath(expression: str, prefix: str = "ds") -> str:
    return (
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116">'
        f'<ds:XPath xmlns:{prefix}="{DSIG}">{expression}</ds:XPath></ds:Transform>'
    )


def filter2(*filters: tuple[str, str]) -> str:
    namespace = "http://www.w3.org/2002/06/xmldsig-filter2"
    steps = "".join(
        f'<f:XPath xmlns:f="{namespace}" Filter="{kind}">{expression}</f:XPath>'
        for kind, expression in filters
    )
    return f'<ds:Transform Algorithm="{namespace}">{steps}</ds:Transform>'


def hashed(content: bytes, name: str) -> str:
    hasher = hashes.Hash(DIGESTS[name][1])
    hasher.update(content)
    return b64encode(hasher.finalize()).decode()


@dataclass(frozen=True)
class Signer:
    """A key with its certificate and the algorithms to use; `padding` is "pkcs1" or "pss"."""

    key: Any
    certificate: x509.Certificate
    digest: str = "sha256"
    padding: str = "pkcs1"

    def around(self, request: str, *transforms: str, content: bytes | None = None) -> bytes:
        """Put a signature into a request; `content` is what it covers, if not the request."""
        covered = content or _canonical(request)
        signature = self._signature("", transforms, covered)
        return request.replace("</AuthTokenRequest>", f"{signature}</AuthTokenRequest>").encode()

    def within(self, held: str, *transforms: str, content: bytes | None = None) -> bytes:
        """Put what is signed into an object of the signature."""
        held = f'<ds:Object xmlns:ds="{DSIG}" Id="held">{held}</ds:Object>'
        covered = content or _canonical(held)
        return self._signature("#held", transforms, covered, held=held).encode()

    def _signature(
        self, uri: str, transforms: tuple[str, ...], covered: bytes, held: str = ""
    ) -> str:
        properties = self._properties()
        signed_info = (
            f'<ds:SignedInfo xmlns:ds="{DSIG}">'
            f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}"/>'
            f'<ds:SignatureMethod Algorithm="{self._method()}"/>'
            + self._reference(f'URI="{uri}"', transforms, covered)
            + self._reference(
                'Type="http://uri.etsi.org/01903#SignedProperties" URI="#properties"',
                (c14n(EXCLUSIVE),),
                _canonical(properties),
            )
            + "</ds:SignedInfo>"
        )
        value = b64encode(self._signed(_canonical(signed_info))).decode()
        certificate = b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        return (
            f'<ds:Signature xmlns:ds="{DSIG}">{signed_info}'
            f"<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo><ds:X509Data>"
            f"<ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
            f'{held}<ds:Object><xades:QualifyingProperties xmlns:xades="{XADES}" Target="#s">'
            f"{properties}</xades:QualifyingProperties></ds:Object></ds:Signature>"
        )

    def _properties(self) -> str:
        der = self.certificate.public_bytes(Encoding.DER)
        return (
            f'<xades:SignedProperties xmlns:xades="{XADES}" Id="properties">'
            "<xades:SignedSignatureProperties>"
            "<xades:SigningTime>2026-09-22T10:30:00Z</xades:SigningTime>"
            "<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>"
            f'<ds:DigestMethod xmlns:ds="{DSIG}" Algorithm="{DIGESTS[self.digest][0]}"/>'
            f'<ds:DigestValue xmlns:ds="{DSIG}">{hashed(der, self.digest)}</ds:DigestValue>'
            "</xades:CertDigest></xades:Cert></xades:SigningCertificateV2>"
            "</xades:SignedSignatureProperties></xades:SignedProperties>"
        )

    def _reference(self, attributes: str, transforms: tuple[str, ...], covered: bytes) -> str:
        listed = f"<ds:Transforms>{''.join(transforms)}</ds:Transforms>" if transforms else ""
        return (
            f"<ds:Reference {attributes}>{listed}"
            f'<ds:DigestMethod Algorithm="{DIGESTS[self.digest][0]}"/>'
            f"<ds:DigestValue>{hashed(covered, self.digest)}</ds:DigestValue></ds:Reference>"
        )

    def _method(self) -> str:
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return f"{MORE_2021 if 'sha3-' in self.digest else MORE}ecdsa-{self.digest}"
        if self.padding == "pss":
            return f"{MORE_2007}{self.digest}-rsa-MGF1"
        return f"{DSIG if self.digest == 'sha1' else MORE}rsa-{self.digest}"

    def _signed(self, content: bytes) -> bytes:
        algorithm = DIGESTS[self.digest][1]
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            used = pss if self.padding == "pss" else padding.PKCS1v15()
            return self.key.sign(content, used, algorithm)
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(self.key.sign(content, ec.ECDSA(algorithm)))
        size = (self.key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _canonical(text: str) -> bytes:
    """Write a text in canonical XML; no namespace of these goes unused, so all forms agree."""
    canonical: bytes = etree.tostring(
        etree.fromstring(text), method="c14n", exclusive=True, with_comments=False
    )
    return canonical
