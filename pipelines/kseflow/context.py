"""The taxpayer that somebody logs in for, and its one form in JSON outputs."""

import re
from dataclasses import dataclass, field

from kseflow.errors import ConfigurationError

CONTEXT_PATTERNS = {
    "Nip": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}",
    "InternalId": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}-\d{5}",
    "NipVatUe": r"[1-9]((\d[1-9])|([1-9]\d))\d{7}-[A-Z]{2}[A-Z0-9+*]{2,12}",
}
NIP_WEIGHTS = (6, 5, 7, 2, 3, 4, 5, 6, 7)


def plain_id(text: str) -> str:
    """Return a taxpayer's identifier as KSeF has it: a NIP may be written with dashes or spaces."""
    digits = re.sub(r"[\s-]", "", text)
    return digits if re.fullmatch(r"\d{10}", digits) else text.strip()


@dataclass(frozen=True, order=True)
class Context:
    """The taxpayer one logs in for: type `Nip`, `InternalId` or `NipVatUe`, and its value.

    `name` is what people call it, None when nobody said; it does not tell taxpayers apart.
    """

    type: str
    id: str
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.type not in CONTEXT_PATTERNS:
            raise ConfigurationError(
                f"{self.type!r} is no context type; use one of {', '.join(CONTEXT_PATTERNS)}"
            )
        if not re.fullmatch(CONTEXT_PATTERNS[self.type], self.id):
            raise ConfigurationError(f"{self.id!r} is not a valid {self.type}; check the digits")
        nip = [int(digit) for digit in self.id[:10]]
        checksum = sum(w * digit for w, digit in zip(NIP_WEIGHTS, nip, strict=False)) % 11
        if checksum != nip[9]:
            raise ConfigurationError(
                f"NIP {self.id[:10]} has a wrong checksum; a digit is mistyped or swapped"
            )

    def __str__(self) -> str:
        return f"NIP {self.id}" if self.type == "Nip" else f"{self.type} {self.id}"

    def as_json(self) -> dict[str, str | None]:
        """Return what every JSON output says of a taxpayer."""
        return {"context_type": self.type, "context_id": self.id, "taxpayer_name": self.name}


NO_TAXPAYER = dict.fromkeys(("context_type", "context_id", "taxpayer_name"))  # of all, or the file
