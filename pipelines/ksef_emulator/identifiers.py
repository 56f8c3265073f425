"""Numbers that KSeF and the tax office give out, derived from digests instead of counters."""

from __future__ import annotations

from base64 import b64encode
from datetime import date
from functools import cache, lru_cache
from hashlib import blake2b, sha256
from random import Random

NIP_WEIGHTS = (6, 5, 7, 2, 3, 4, 5, 6, 7)


def digest(*parts: object) -> bytes:
    """Hash the parts to 64 bytes: randomness that needs no order."""
    return blake2b("/".join(map(str, parts)).encode()).digest()


def sha256_base64(content: bytes) -> str:
    """Compute a SHA-256 as KSeF shows it."""
    return b64encode(sha256(content).digest()).decode()


def seeded_random(*parts: object) -> Random:
    """Return a generator for draws that do need an order, such as those of one day."""
    return Random("/".join(map(str, parts)))  # noqa: S311 - a made-up world, not a secret


@cache
def _crc8_table() -> bytes:
    table = bytearray()
    for value in range(256):
        for _ in range(8):
            value = (value << 1) ^ 0x07 if value & 0x80 else value << 1
        table.append(value & 0xFF)
    return bytes(table)


def crc8(text: str) -> int:
    """Compute the check value of a KSeF number: polynomial 0x07, initial value 0.

    Source: faktury/numer-ksef.md
    """
    table = _crc8_table()
    remainder = 0
    for byte in text.encode():
        remainder = table[remainder ^ byte]
    return remainder


@lru_cache(1 << 10)
def _compact(day: date) -> str:
    return f"{day:%Y%m%d}"


def reference_number(day: date, kind: str, noise: bytes) -> str:
    """Write a 36-character reference number; kind is SO, SB, EE, EH, EU, AU, CR or EC."""
    text = noise[:10].hex().upper()
    body = f"{_compact(day)}-{kind}-{text[:10]}-{text[10:]}"
    return f"{body}-{crc8(body):02X}"


def ksef_number(nip: str, day: date, noise: bytes) -> str:
    """Write the 35-character number of an accepted invoice, check value included."""
    body = f"{nip}-{_compact(day)}-{noise[:6].hex().upper()}"
    return f"{body}-{crc8(body):02X}"


def nip_check_digit(first_nine: str) -> int:
    """Compute the last digit of a NIP; 10 means that no such NIP exists."""
    weighted = (w * int(d) for w, d in zip(NIP_WEIGHTS, first_nine, strict=True))
    return sum(weighted) % 11


def nip(*parts: object) -> str:
    """Derive a tax number with a valid check digit and a possible tax-office prefix."""
    attempt = 0
    while True:
        number = int.from_bytes(digest("nip", *parts, attempt)[:8], "big")
        first_nine = f"{521 + number % 400:03d}{number // 400 % 1_000_000:06d}"
        check = nip_check_digit(first_nine)
        # The contract's pattern for NIP forbids two zeros after the first digit.
        if check < 10 and first_nine[1:3] != "00":
            return f"{first_nine}{check}"
        attempt += 1
