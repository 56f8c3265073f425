"""Signatures in the forms that the ministry lists (auth/podpis-xades.md), and in no other."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ksef_emulator import World
from ksef_emulator.world.certificates import self_signed
from tests.emulator.logging_in import NOW, SINCE, bearer, finish_login
from tests.emulator.signing import DIGESTS, DSIG, ENVELOPED, EXCLUSIVE, Signer, c14n, filter2, xpath
from tests.emulator.test_emulated_login import claims, codes, request_to_sign

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())

NOT_THE_SIGNATURE = xpath("not(ancestor-or-self::ds:Signature)")
ALL_C14N = [
    f"{algorithm}{comments}"
    for algorithm, with_comments in (
        ("http://www.w3.org/2006/12/xml-c14n11", "#WithComments"),
        (EXCLUSIVE, "WithComments"),
        ("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "#WithComments"),
    )
    for comments in ("", with_comments)
]
AROUND = {
    "enveloped": (ENVELOPED,),
    "enveloped-c14n": (ENVELOPED, c14n(EXCLUSIVE)),
    "xpath": (NOT_THE_SIGNATURE,),
    "xpath-c14n": (NOT_THE_SIGNATURE, c14n(EXCLUSIVE)),
    "xpath-of-another-prefix": (xpath("\n not( ancestor-or-self::d:Signature )\n", "d"),),
    "enveloped-and-xpath": (ENVELOPED, NOT_THE_SIGNATURE, c14n(EXCLUSIVE)),
    "subtract": (filter2(("subtract", "/descendant::ds:Signature")),),
    "subtract-here": (filter2(("subtract", "here()/ancestor::ds:Signature[1]")),),
    "intersect-subtract": (
        filter2(("intersect", "/*"), ("subtract", "//ds:Signature")),
        c14n(EXCLUSIVE),
    ),
    **{f"c14n-{algorithm}": (ENVELOPED, c14n(algorithm)) for algorithm in ALL_C14N},
}

Send = Callable[[bytes], httpx.Response]


def seal(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, nip: str) -> x509.Certificate:
    return self_signed(key, nip, "Żuk sp. z o.o.", SINCE)


@pytest.fixture
def nip(world: World) -> str:
    return world.taxpayers[0].context_id


@pytest.fixture
def signer(nip: str) -> Signer:
    return Signer(RSA, seal(RSA, nip))


@pytest.fixture
def send(client: httpx.Client) -> Send:
    return lambda document: client.post("/auth/xades-signature", content=document)


def assert_logs_in(client: httpx.Client, started: httpx.Response) -> dict[str, object]:
    """Assert that a login comes to its end, and return the claims of its access token."""
    assert started.status_code == 202, started.text
    return claims(finish_login(client, started)["accessToken"]["token"])


@pytest.mark.parametrize("form", AROUND)
def test_a_request_around_its_signature_logs_in(
    client: httpx.Client, signer: Signer, send: Send, nip: str, form: str
) -> None:
    request = request_to_sign(client, nip).replace("<Context", "<!-- no part of it --><Context")
    told = assert_logs_in(client, send(signer.around(request, *AROUND[form])))
    assert (told["civ"], told["aum"]) == (nip, "QualifiedSeal")


def documents_within(client: httpx.Client, signer: Signer, nip: str) -> list[bytes]:
    request = request_to_sign(client, nip)
    text = b64encode(request.encode()).decode()
    base64 = f'<ds:Transform Algorithm="{DSIG}base64"/>'
    return [
        signer.within(request),
        signer.within(request_to_sign(client, nip), c14n(EXCLUSIVE)),
        signer.within(text, base64, content=request.encode()),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_request_within_its_signature_logs_in(
    client: httpx.Client, signer: Signer, send: Send, nip: str, number: int
) -> None:
    document = documents_within(client, signer, nip)[number]
    assert assert_logs_in(client, send(document))["civ"] == nip


@pytest.mark.parametrize("padding", ["pkcs1", "pss", "ecdsa"])
@pytest.mark.parametrize("digest", DIGESTS)
def test_every_listed_algorithm_logs_in(
    client: httpx.Client, send: Send, nip: str, digest: str, padding: str
) -> None:
    if padding == "pkcs1" and "sha3-" in digest:
        pytest.skip("not listed")
    key = EC if padding == "ecdsa" else RSA
    signer = Signer(key, seal(key, nip), digest, padding)
    assert_logs_in(client, send(signer.around(request_to_sign(client, nip), ENVELOPED)))


def test_other_content_than_the_signed_is_refused_in_every_form(
    client: httpx.Client, signer: Signer, send: Send, world: World
) -> None:
    first, second = (taxpayer.context_id for taxpayer in world.taxpayers)
    request = request_to_sign(client, first)
    signed = [signer.around(request, *transforms) for transforms in AROUND.values()]
    signed += documents_within(client, signer, first)[:2]
    for document in signed:
        changed = document.replace(f"<Nip>{first}".encode(), f"<Nip>{second}".encode())
        assert changed != document
        assert codes(send(changed)) == [9105]
    changed = signed[0].replace(b"10:30:00Z</xades:SigningTime>", b"10:31:00Z</xades:SigningTime>")
    assert codes(send(changed)) == [9105]


@pytest.mark.parametrize(
    "transforms",
    [
        (xpath("true()"),),
        (xpath("not(self::ds:Signature)"),),
        (xpath("not(ancestor-or-self::ds:Signature)", "other").replace("ds:Sig", "ds:S"),),
        (filter2(("subtract", "/*")),),
        (filter2(("union", "/*")), ENVELOPED),
        ('<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>', ENVELOPED),
        (),
    ],
)
def test_transforms_that_are_not_listed_are_refused(
    client: httpx.Client, signer: Signer, send: Send, nip: str, transforms: tuple[str, ...]
) -> None:
    request = request_to_sign(client, nip)
    assert codes(send(signer.around(request, *transforms))) == [9105]


@pytest.mark.parametrize("transform", [ENVELOPED, NOT_THE_SIGNATURE])
def test_a_request_within_its_signature_is_not_signed_without_the_signature(
    client: httpx.Client, signer: Signer, send: Send, nip: str, transform: str
) -> None:
    assert codes(send(signer.within(request_to_sign(client, nip), transform))) == [9105]


def test_a_signature_beside_the_request_and_one_of_something_else_are_refused(
    client: httpx.Client, signer: Signer, send: Send, nip: str
) -> None:
    request = request_to_sign(client, nip)
    beside = signer.around(request, ENVELOPED).replace(b"</AuthTokenRequest>", b"")
    signature = beside[beside.index(b"<ds:Signature ") :]
    assert codes(send(b"<both>" + request.encode() + signature + b"</both>")) == [9101]
    assert codes(send(signer.within("<other/>"))) == [9101]
    assert codes(send(signer.within("bm8geG1s"))) == [21001]


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP224R1()),
    ],
)
def test_short_keys_are_refused(
    client: httpx.Client, send: Send, nip: str, key: rsa.RSAPrivateKey
) -> None:
    request = request_to_sign(client, nip)
    assert codes(send(Signer(key, seal(key, nip)).around(request, ENVELOPED))) == [9105]


def person(serial_number: str, **others: str) -> x509.Certificate:
    """Sign the certificate of a natural person."""
    names = {NameOID.SERIAL_NUMBER: serial_number, NameOID.COMMON_NAME: "Jan Żuk"}
    oids = {"surname": NameOID.SURNAME, "organization": NameOID.ORGANIZATION_IDENTIFIER}
    names |= {oids[name]: text for name, text in {"surname": "Żuk", **others}.items()}
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names.items() if text])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(RSA.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100))
        .sign(RSA, hashes.SHA256())
    )


@pytest.mark.parametrize(
    "form", ["TINPL-{}", "NIP-{}", "NIP:{}", "NIP {}", "TINPL{}", "NIP PL {}."]
)
def test_a_person_is_known_by_the_nip_in_the_serial_number(
    client: httpx.Client, send: Send, nip: str, form: str
) -> None:
    signer = Signer(RSA, person(form.format(nip)))
    told = assert_logs_in(client, send(signer.around(request_to_sign(client, nip), ENVELOPED)))
    assert told["aum"] == "QualifiedSignature"
    subject = {"subjectIdentifier": {"type": "Nip", "value": nip}, "commonName": "Jan Żuk"}
    assert json.loads(str(told["sud"])) == subject


@pytest.mark.parametrize(
    "certificate",
    [
        person("PNOPL-90010112345"),
        person("PESEL: 90010112345"),
        person("IDCPL-ABC123456"),
        person("", organization="VATPL-1111111111"),
    ],
)
def test_somebody_unknown_is_let_in_to_be_told_that_there_are_no_rights(
    client: httpx.Client, send: Send, nip: str, certificate: x509.Certificate
) -> None:
    signer = Signer(RSA, certificate)
    started = send(signer.around(request_to_sign(client, nip), ENVELOPED))
    assert started.status_code == 202
    headers = bearer(started.json()["authenticationToken"]["token"])
    url = f"/auth/{started.json()['referenceNumber']}"
    answers = [client.get(url, headers=headers).json() for _ in range(2)]
    assert [answer["status"]["code"] for answer in answers] == [100, 415]


def test_a_seal_that_names_a_person_is_none(client: httpx.Client, send: Send, nip: str) -> None:
    signer = Signer(RSA, person("", organization=f"VATPL-{nip}"))
    started = send(signer.around(request_to_sign(client, nip), ENVELOPED))
    headers = bearer(started.json()["authenticationToken"]["token"])
    url = f"/auth/{started.json()['referenceNumber']}"
    codes = [client.get(url, headers=headers).json()["status"]["code"] for _ in range(2)]
    assert codes == [100, 415]


@pytest.mark.skipif(not shutil.which("xmlsec1"), reason="xmlsec1 is not installed")
def test_xmlsec_verifies_what_logs_in(
    client: httpx.Client, signer: Signer, nip: str, tmp_path: Path
) -> None:
    request = request_to_sign(client, nip)
    signed = {name: signer.around(request, *forms) for name, forms in AROUND.items()}
    signed |= {f"within-{n}": d for n, d in enumerate(documents_within(client, signer, nip))}
    trusted, document = tmp_path / "seal.pem", tmp_path / "document.xml"
    trusted.write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    refused = {}
    for name, content in signed.items():
        document.write_bytes(content)
        ids = ["--id-attr:Id", "Object", "--id-attr:Id", "SignedProperties"]
        command = ["xmlsec1", "--verify", "--trusted-pem", str(trusted), *ids, str(document)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            refused[name] = told.stderr
    assert refused == {}
