"""Logging in as any client of KSeF would, for the tests of the emulator."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SINCE = datetime(2026, 9, 7, tzinfo=UTC)
NOW = datetime(2026, 9, 22, 10, 30, tzinfo=UTC)

Headers = dict[str, str]


def newest_token_key(client: httpx.Client) -> dict[str, str]:
    keys = client.get("/security/public-key-certificates").json()
    return max(
        (key for key in keys if key["usage"] == ["KsefTokenEncryption"]),
        key=lambda key: str(key["validFrom"]),
    )


def start_token_login(
    client: httpx.Client, token: str, nip: str, *, key: dict[str, str] | None = None
) -> httpx.Response:
    challenge = client.post("/auth/challenge").json()
    key = key or newest_token_key(client)
    certificate = x509.load_der_x509_certificate(b64decode(key["certificate"]))
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    secret = f"{token}|{challenge['timestampMs']}".encode()
    body = {
        "challenge": challenge["challenge"],
        "contextIdentifier": {"type": "Nip", "value": nip},
        "encryptedToken": b64encode(public_key.encrypt(secret, oaep)).decode(),
        "publicKeyId": key["publicKeyId"],
    }
    return client.post("/auth/ksef-token", json=body)


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def finish_login(client: httpx.Client, started: httpx.Response) -> dict[str, dict[str, str]]:
    """Poll until the login is decided and redeem its tokens."""
    headers = bearer(started.json()["authenticationToken"]["token"])
    for _ in range(2):
        client.get(f"/auth/{started.json()['referenceNumber']}", headers=headers)
    tokens: dict[str, dict[str, str]] = client.post("/auth/token/redeem", headers=headers).json()
    return tokens
