from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    pkcs12,
)
from lxml import etree
from signxml.xades.xades import XAdESSigner

from ksef_emulator import Emulator, VirtualClock, World
from ksef_emulator.world.certificates import CertificateFiles, PrivateKey, self_signed
from tests.emulator.logging_in import (
    NOW,
    bearer,
    finish_login,
    newest_token_key,
    start_token_login,
)

NAMESPACE = "http://ksef.mf.gov.pl/auth/token/2.1"


def status_of(client: httpx.Client, started: httpx.Response) -> dict[str, object]:
    """Return the second status: the first is always 100."""
    headers = bearer(started.json()["authenticationToken"]["token"])
    url = f"/auth/{started.json()['referenceNumber']}"
    assert client.get(url, headers=headers).json()["status"]["code"] == 100
    status: dict[str, object] = client.get(url, headers=headers).json()["status"]
    return status


def codes(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 400, answer.text
    details = answer.json()["exception"]["exceptionDetailList"]
    return [detail["exceptionCode"] for detail in details]


def claims(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    decoded: dict[str, object] = json.loads(urlsafe_b64decode(payload + "=="))
    return decoded


def test_a_ksef_token_logs_in_and_the_claims_show_its_permissions(
    client: httpx.Client, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    assert started.status_code == 202
    assert status_of(client, started)["code"] == 200
    access = finish_login(client, started)["accessToken"]
    seen = claims(access["token"])
    assert (seen["cit"], seen["civ"]) == ("Nip", taxpayer.context_id)
    assert json.loads(str(seen["per"])) == ["Introspection", "InvoiceRead"]
    assert datetime.fromisoformat(access["validUntil"]) == NOW + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        ("revoked_token", "Token unieważniony"),
        ("expired_token", "Token nieaktywny"),
        ("name", "Nieprawidłowy token"),
    ],
)
def test_a_token_that_does_not_work_ends_in_450(
    client: httpx.Client, world: World, token: str, detail: str
) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, getattr(taxpayer, token), taxpayer.context_id)
    status = status_of(client, started)
    assert (status["code"], status["details"]) == (450, [detail])
    redeemed = client.post(
        "/auth/token/redeem", headers=bearer(started.json()["authenticationToken"]["token"])
    )
    assert codes(redeemed) == [21301]


def test_a_token_of_another_context_ends_in_450(client: httpx.Client, world: World) -> None:
    first, second = world.taxpayers
    started = start_token_login(client, first.token, second.context_id)
    expected = f"Token nie może być użyty w kontekście Nip: {second.context_id}"
    assert status_of(client, started)["details"] == [expected]


def test_a_token_encrypted_otherwise_ends_in_450(client: httpx.Client, world: World) -> None:
    challenge = client.post("/auth/challenge").json()["challenge"]
    body = {
        "challenge": challenge,
        "contextIdentifier": {"type": "Nip", "value": world.taxpayers[0].context_id},
        "encryptedToken": b64encode(b"\x01" * 256).decode(),
    }
    started = client.post("/auth/ksef-token", json=body)
    assert status_of(client, started)["details"] == ["Nieprawidłowe szyfrowanie tokena"]


def test_a_challenge_is_good_once_and_for_ten_minutes(
    client: httpx.Client, world: World, clock: VirtualClock
) -> None:
    key = newest_token_key(client)
    challenge = client.post("/auth/challenge").json()["challenge"]
    body = {
        "challenge": challenge,
        "contextIdentifier": {"type": "Nip", "value": world.taxpayers[0].context_id},
        "encryptedToken": b64encode(b"\x01" * 256).decode(),
        "publicKeyId": key["publicKeyId"],
    }
    assert client.post("/auth/ksef-token", json=body).status_code == 202
    assert codes(client.post("/auth/ksef-token", json=body)) == [21111]
    late = {**body, "challenge": client.post("/auth/challenge").json()["challenge"]}
    clock.sleep(601)
    assert codes(client.post("/auth/ksef-token", json=late)) == [21111]


def test_public_keys_have_an_expired_an_older_and_a_newest_one_for_each_usage(
    client: httpx.Client,
) -> None:
    keys = client.get("/security/public-key-certificates").json()
    for usage in ("KsefTokenEncryption", "SymmetricKeyEncryption"):
        valid = [key for key in keys if key["usage"] == [usage]]
        ends = sorted(datetime.fromisoformat(key["validTo"]) for key in valid)
        assert len(valid) == 3
        assert ends[0] < NOW < ends[1]


def test_expired_and_withdrawn_keys_are_21470(
    app: Emulator, client: httpx.Client, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    keys = client.get("/security/public-key-certificates").json()
    token_keys = [key for key in keys if key["usage"] == ["KsefTokenEncryption"]]
    expired = min(token_keys, key=lambda key: key["validTo"])
    newest = newest_token_key(client)
    refused = start_token_login(client, taxpayer.token, taxpayer.context_id, key=expired)
    assert codes(refused) == [21470]
    app.rotate_keys()
    refused = start_token_login(client, taxpayer.token, taxpayer.context_id, key=newest)
    assert codes(refused) == [21470]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    assert status_of(client, started)["code"] == 200


def test_tokens_are_redeemed_once_and_not_before_the_login_is_done(
    client: httpx.Client, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    headers = bearer(started.json()["authenticationToken"]["token"])
    assert codes(client.post("/auth/token/redeem", headers=headers)) == [21301]
    finish_login(client, started)
    again = client.post("/auth/token/redeem", headers=headers)
    assert codes(again) == [21301]
    assert (
        "zostały już pobrane" in again.json()["exception"]["exceptionDetailList"][0]["details"][0]
    )


def test_access_ends_after_15_minutes_and_is_refreshed_for_seven_days(
    client: httpx.Client, world: World, clock: VirtualClock
) -> None:
    taxpayer = world.taxpayers[0]
    tokens = finish_login(client, start_token_login(client, taxpayer.token, taxpayer.context_id))
    access, refresh = (bearer(tokens[name]["token"]) for name in ("accessToken", "refreshToken"))
    clock.sleep(899)
    assert client.get("/rate-limits", headers=access).status_code == 200
    clock.sleep(1)
    refused = client.get("/rate-limits", headers=access)
    assert refused.status_code == 401
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert refused.json()["detail"] == "Wymagane jest uwierzytelnienie."
    answer = client.post("/auth/token/refresh", headers=refresh)
    assert answer.json().keys() == {"accessToken"}
    fresh = bearer(answer.json()["accessToken"]["token"])
    assert client.get("/rate-limits", headers=fresh).status_code == 200
    clock.sleep(7 * 86_400)
    assert client.post("/auth/token/refresh", headers=refresh).status_code == 401


def test_each_token_opens_its_own_routes_only(client: httpx.Client, world: World) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    operation = started.json()["authenticationToken"]["token"]
    tokens = finish_login(client, started)
    access, refresh = tokens["accessToken"]["token"], tokens["refreshToken"]["token"]
    routes = {
        ("GET", f"/auth/{started.json()['referenceNumber']}"): (access, refresh),
        ("POST", "/auth/token/redeem"): (access, refresh),
        ("POST", "/auth/token/refresh"): (access, operation),
        ("GET", "/sessions"): (operation, refresh),
    }
    for (method, url), wrong in routes.items():
        for token in (*wrong, "", f"{access}x", "a.b.c"):
            assert client.request(method, url, headers=bearer(token)).status_code == 401


def test_a_revoked_login_cannot_be_refreshed_but_its_access_token_lives_on(
    app: Emulator, client: httpx.Client, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    tokens = finish_login(client, started)
    app.revoke_logins()
    refresh = bearer(tokens["refreshToken"]["token"])
    assert codes(client.post("/auth/token/refresh", headers=refresh)) == [21301]
    access = bearer(tokens["accessToken"]["token"])
    assert client.get("/rate-limits", headers=access).status_code == 200
    operation = bearer(started.json()["authenticationToken"]["token"])
    url = f"/auth/{started.json()['referenceNumber']}"
    assert client.get(url, headers=operation).json()["status"]["code"] == 425


def request_to_sign(client: httpx.Client, nip: str, **replacements: str) -> str:
    values = {
        "challenge": client.post("/auth/challenge").json()["challenge"],
        "subject_type": "certificateSubject",
        **replacements,
    }
    return (
        f'<AuthTokenRequest xmlns="{NAMESPACE}"><Challenge>{values["challenge"]}</Challenge>'
        f"<ContextIdentifier><Nip>{nip}</Nip></ContextIdentifier>"
        f"<SubjectIdentifierType>{values['subject_type']}</SubjectIdentifierType>"
        "</AuthTokenRequest>"
    )


def signed(document: str, key: object, certificate: bytes, algorithm: str) -> bytes:
    assert isinstance(key, PrivateKey)
    signer = XAdESSigner(signature_algorithm=algorithm)
    root = signer.sign(etree.fromstring(document), key=key, cert=certificate.decode())
    signed_document: bytes = etree.tostring(root)
    return signed_document


def sign_with(files: CertificateFiles, document: str) -> bytes:
    password = files.password.encode()
    if files.kind == "pkcs12":
        key, certificate, _ = pkcs12.load_key_and_certificates(files.key.read_bytes(), password)
        assert certificate is not None
        pem = certificate.public_bytes(Encoding.PEM)
        return signed(document, key, pem, "rsa-sha256")
    key = load_pem_private_key(files.key.read_bytes(), password)
    algorithm = "ecdsa-sha256" if files.kind == "ec" else "rsa-sha256"
    return signed(document, key, files.certificate.read_bytes(), algorithm)


@pytest.fixture
def files(app: Emulator, world: World, tmp_path: Path) -> dict[str, CertificateFiles]:
    """The first taxpayer's certificate files by kind."""
    written = app.certificate_files(tmp_path)[world.taxpayers[0].context_id]
    return {each.kind: each for each in written}


@pytest.mark.parametrize("kind", ["rsa", "ec", "pkcs12"])
def test_a_signature_logs_in_with_each_kind_of_certificate(
    client: httpx.Client, world: World, files: dict[str, CertificateFiles], kind: str
) -> None:
    nip = world.taxpayers[0].context_id
    document = sign_with(files[kind], request_to_sign(client, nip))
    started = client.post("/auth/xades-signature", content=document)
    assert started.status_code == 202, started.text
    assert status_of(client, started)["code"] == 200
    access = bearer(finish_login(client, started)["accessToken"]["token"])
    query = {"sessionType": "Online"}
    assert client.get("/sessions", params=query, headers=access).json()["sessions"]


def test_a_changed_document_breaks_the_signature(
    client: httpx.Client, world: World, files: dict[str, CertificateFiles]
) -> None:
    first, second = (taxpayer.context_id for taxpayer in world.taxpayers)
    document = sign_with(files["ec"], request_to_sign(client, first))
    changed = document.replace(f"<Nip>{first}".encode(), f"<Nip>{second}".encode())
    assert codes(client.post("/auth/xades-signature", content=changed)) == [9105]


def test_a_certificate_of_somebody_else_has_no_permissions(
    client: httpx.Client, world: World, files: dict[str, CertificateFiles]
) -> None:
    other = world.taxpayers[1].context_id
    for document in (
        request_to_sign(client, other),
        request_to_sign(
            client, world.taxpayers[0].context_id, subject_type="certificateFingerprint"
        ),
    ):
        started = client.post("/auth/xades-signature", content=sign_with(files["ec"], document))
        status = status_of(client, started)
        assert (status["code"], status["details"]) == (415, ["Brak przypisanych uprawnień"])


def test_an_expired_certificate_is_21115(
    client: httpx.Client, world: World, files: dict[str, CertificateFiles]
) -> None:
    taxpayer = world.taxpayers[0]
    key = load_pem_private_key(files["ec"].key.read_bytes(), files["ec"].password.encode())
    assert isinstance(key, PrivateKey)
    old = self_signed(key, taxpayer.context_id, "Old", NOW - timedelta(days=800))
    document = request_to_sign(client, taxpayer.context_id)
    answer = client.post(
        "/auth/xades-signature",
        content=signed(document, key, old.public_bytes(Encoding.PEM), "ecdsa-sha256"),
    )
    assert codes(answer) == [21115]


@pytest.mark.parametrize(
    ("replacements", "code"),
    [
        ({"challenge": "20260922-CR-0000000000-0000000000-00"}, 21111),
        ({"challenge": "anything"}, 21401),
        ({"subject_type": "name"}, 21401),
    ],
)
def test_a_request_against_the_schema_is_refused(
    client: httpx.Client,
    world: World,
    files: dict[str, CertificateFiles],
    replacements: dict[str, str],
    code: int,
) -> None:
    nip = world.taxpayers[0].context_id
    document = request_to_sign(client, nip, **replacements)
    answer = client.post("/auth/xades-signature", content=sign_with(files["ec"], document))
    assert codes(answer) == [code]


def test_a_document_that_cannot_be_read_or_is_not_signed_once_is_refused(
    client: httpx.Client, world: World, files: dict[str, CertificateFiles]
) -> None:
    nip = world.taxpayers[0].context_id
    twice = sign_with(files["ec"], request_to_sign(client, nip))
    signature = twice[twice.index(b"<ds:Signature ") : twice.rindex(b"</AuthTokenRequest>")]
    twice = twice.replace(b"</AuthTokenRequest>", signature + b"</AuthTokenRequest>")
    for content, code in (
        (b"hello", 21001),
        (request_to_sign(client, nip).encode(), 9102),
        (twice, 9103),
    ):
        assert codes(client.post("/auth/xades-signature", content=content)) == [code]


def test_logins_are_numbered_alike_in_two_emulators_of_one_seed(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> None:
    first, second = (connect(Emulator(world, clock)) for _ in range(2))
    assert first.post("/auth/challenge").json() == second.post("/auth/challenge").json()
