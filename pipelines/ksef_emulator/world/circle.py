"""Draw a world's taxpayers from its seed, each trading with the next two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from ksef_emulator.identifiers import digest, nip, reference_number
from ksef_emulator.world.taxpayers import KsefToken, Party, Taxpayer

NAMES = (
    "Zakłady Mięsne Łęczna sp. z o.o.",
    "Żółty Kamień Transport S.A.",
    "Biuro Rachunkowe Gąsior",
    "Hurtownia Śrub i Nakrętek Ćwiek sp.k.",
    "Młyn Wodny Źródło sp. z o.o.",
    "Pracownia Ikona Anna Nowak",
    "Stolarnia Dąb i Jesion s.c.",
    "Energia Północ S.A.",
)


def taxpayer(seed: int, number: int) -> Taxpayer:
    """Derive one taxpayer of the world with this seed, still without partners."""
    noise = digest(seed, "taxpayer", number)
    owner, writer = nip(seed, number, "owner"), nip(seed, number, "writer")
    rights = (
        (owner, ("Introspection", "InvoiceRead"), "Active"),
        (writer, ("InvoiceWrite",), "Active"),
        (owner, ("InvoiceRead",), "Active"),
        (owner, ("Introspection", "InvoiceRead"), "Expired"),
        (owner, ("Introspection", "InvoiceRead"), "Revoked"),
    )
    tokens = tuple(
        KsefToken(_token_value(owner, seed, number, kind), subject, permissions, state)
        for kind, (subject, permissions, state) in enumerate(rights)
    )
    name = NAMES[number % len(NAMES)] + (
        f" {number // len(NAMES) + 1}" if number >= len(NAMES) else ""
    )
    return Taxpayer(owner, name, writer, noise[0] % 3, 0.02 + noise[1] / 255 * 0.05, tokens)


def circle(seed: int, count: int) -> tuple[Taxpayer, ...]:
    """Derive taxpayers that each trade with the next two of them."""
    alone = [taxpayer(seed, number) for number in range(count)]
    neighbours = ({(n + step) % count for step in (1, 2)} - {n} for n in range(count))
    return tuple(
        with_partners(who, [alone[n] for n in sorted(near)])
        for who, near in zip(alone, neighbours, strict=True)
    )


def with_partners(who: Taxpayer, others: Sequence[Taxpayer]) -> Taxpayer:
    partners = tuple(Party("Nip", other.context_id, other.name) for other in others)
    return replace(who, partners=partners)


def _token_value(owner: str, *parts: object) -> str:
    noise = digest("token", *parts)
    reference = reference_number(date(2026, 1, 2), "EC", noise)
    return f"{reference}|nip-{owner}|{noise.hex()[:64]}"
