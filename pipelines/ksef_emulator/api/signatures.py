"""Verify XAdES signatures in the forms that KSeF accepts.

signxml does the work; it knows neither XPath nor the filters of its second version.

Source: auth/podpis-xades.md
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.verifier import SignatureConfiguration
from signxml.xades.xades import XAdESVerifier

DSIG = "http://www.w3.org/2000/09/xmldsig#"
FILTER2 = "http://www.w3.org/2002/06/xmldsig-filter2"
C14N = (
    "http://www.w3.org/2006/12/xml-c14n11",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
)
SIGNATURE = f"{{{DSIG}}}Signature"
NOT_THE_SIGNATURE = "not(ancestor-or-self::{}:Signature)"

METHODS = frozenset(
    method
    for method in SignatureMethod
    if method.name.startswith(("RSA_", "ECDSA_")) or method.name.endswith("_RSA_MGF1")
    if "224" not in method.name
)
DIGESTS = frozenset(digest for digest in DigestAlgorithm if "224" not in digest.name)

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

_REMOVED = "{removed}element"
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


def signed_parts(document: bytes, certificate: x509.Certificate, at: datetime) -> list[Any]:
    """Return each part of a document as its only signature covers it, parsed.

    Raises one of `MALFORMED` where the signature does not hold or is not of an accepted form.
    """
    key = certificate.public_key()
    is_strong = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256
    )
    if not is_strong:
        raise InvalidInput("the key is too short")
    config = SignatureConfiguration(
        location="./",
        expect_references=True,
        signature_methods=METHODS,
        digest_algorithms=DIGESTS,
        verification_time=at,
    )
    results = _Verifier().verify(document, x509_cert=certificate, expect_config=config)
    return [result.signed_xml for result in results if result.signed_xml is not None]


class _Verifier(XAdESVerifier):
    def _resolve_reference(self, doc_root: Any, reference: Any, uri_resolver: Any = None) -> Any:
        resolve: Any = super()._resolve_reference
        found = resolve(doc_root, reference, uri_resolver)
        # References by "" and "#id" leave comments out, whatever the canonical form keeps.
        etree.strip_tags(found, etree.Comment)
        return found

    def _apply_transforms(self, payload: Any, *, transforms_node: Any, signature: Any) -> Any:
        """Apply the transforms one after the other; nodes that remain become canonical XML."""
        for transform in _transforms(transforms_node, signature):
            algorithm = transform.get("Algorithm")
            if algorithm.removesuffix("#").removesuffix("#WithComments") in _C14N:
                payload = _canonical(_nodes(payload), transform, algorithm)
            elif algorithm == f"{DSIG}base64":
                payload = b64decode("".join(_nodes(payload).itertext()))
            elif algorithm in _SELECTIONS:
                payload = _SELECTIONS[algorithm](_nodes(payload), transform, signature)
            else:
                raise InvalidInput(f"transform {algorithm}")
        return payload if isinstance(payload, bytes) else _canonical(payload, None, C14N[-1])


def _transforms(verified: Any, signature: Any) -> list[Any]:
    """Return the transforms of a reference as they stand in the document.

    Those that were verified are canonical, and lack what namespaces only an XPath uses.
    """
    if verified is None:
        return []
    reference = verified.getparent()
    number = list(reference.getparent().iterchildren(reference.tag)).index(reference)
    there = signature.findall(f"{{{DSIG}}}SignedInfo/{{{DSIG}}}Reference")[number]
    transforms: list[Any] = there.findall(f"{{{DSIG}}}Transforms/{{{DSIG}}}Transform")
    return transforms


_C14N = {algorithm.removesuffix("#") for algorithm in C14N}


def _nodes(payload: Any) -> Any:
    return etree.fromstring(payload, _PARSER) if isinstance(payload, bytes) else payload


def _canonical(node: Any, transform: Any, algorithm: str) -> bytes:
    listed = None if transform is None else transform.find(f"{{{C14N[1]}}}InclusiveNamespaces")
    # On its own first: a part of a larger document would inherit what it does not use.
    alone = etree.fromstring(etree.tostring(node, with_tail=False), _PARSER)
    canonical: bytes = etree.tostring(
        alone,
        method="c14n",
        exclusive=algorithm.startswith(C14N[1]),
        with_comments=algorithm.endswith("#WithComments"),
        inclusive_ns_prefixes=None if listed is None else listed.get("PrefixList").split(),
    )
    return canonical


def _without_this_signature(node: Any, transform: Any, signature: Any) -> Any:
    return _without([signature], node)


def _without_signatures(node: Any, transform: Any, signature: Any) -> Any:
    """Apply the only XPath that KSeF accepts, whatever its prefix for the namespace."""
    xpath = transform.find(f"{{{DSIG}}}XPath")
    prefixes = [prefix for prefix, namespace in xpath.nsmap.items() if namespace == DSIG and prefix]
    expression = "".join(xpath.text.split())
    if expression not in [NOT_THE_SIGNATURE.format(prefix) for prefix in prefixes]:
        raise InvalidInput(f"XPath {expression}")
    return _without(list(node.getroottree().iter(SIGNATURE)), node)


def _filtered(node: Any, transform: Any, signature: Any) -> Any:
    """Apply filters that take elements away or leave one."""
    chosen = []
    for xpath in transform.findall(f"{{{FILTER2}}}XPath"):
        names = {prefix: namespace for prefix, namespace in xpath.nsmap.items() if prefix}
        evaluate = etree.XPathEvaluator(
            node.getroottree(),
            namespaces=names,
            extensions={(None, "here"): lambda _, own=xpath: [own]},
        )
        chosen.append((xpath.get("Filter"), evaluate(xpath.text.strip())))
    for kind, elements in chosen:
        if kind == "subtract":
            node = _without(elements, node)
        elif kind == "intersect" and len(elements) == 1 and node in elements[0].iterancestors():
            node = elements[0]
        elif kind != "intersect" or elements != [node]:
            raise InvalidInput(f"filter {kind}")
    return node


def _without(elements: list[Any], node: Any) -> Any:
    """Take elements out of a node. Raises InvalidInput where nothing of the node would remain."""
    if any(outer in elements for outer in (node, *node.iterancestors())):
        raise InvalidInput("a signature of nothing")
    for element in elements:
        element.tag = _REMOVED
    etree.strip_elements(node, _REMOVED, with_tail=False)
    return node


_SELECTIONS = {
    f"{DSIG}enveloped-signature": _without_this_signature,
    "http://www.w3.org/TR/1999/REC-xpath-19991116": _without_signatures,
    FILTER2: _filtered,
}
