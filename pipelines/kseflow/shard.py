"""A share of the taxpayers, for one of several loads that go on beside each other."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol, Self, TypeVar

from kseflow.constants import MOST_SHARDS
from kseflow.context import Context
from kseflow.errors import ConfigurationError, WarehouseError


class WithContext(Protocol):
    @property
    def context(self) -> Context: ...


Login = TypeVar("Login", bound=WithContext)


@dataclass(frozen=True, order=True)
class Shard:
    """The `number`th (from 1) of `count` shares.

    Whose a taxpayer is hangs on its identifier and `count` alone, so that another one that comes
    or goes moves nobody.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST_SHARDS:
            raise ConfigurationError(
                f"there is no shard {self}; 3/8 is the third of eight, and there are at most "
                f"{MOST_SHARDS}"
            )

    @classmethod
    def of(cls, text: object) -> Self:
        """Read `3/8`. Raises `ConfigurationError`."""
        if isinstance(text, cls):
            return text
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", str(text).strip(), re.ASCII)
        if found is None:
            raise ConfigurationError(f"shard is {str(text)!r}; 3/8 is the third of eight")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, context: Context) -> bool:
        """Tell whether a taxpayer is in this share."""
        digest = sha256(f"{context.type}:{context.id}".encode()).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1

    def own(self, logins: Iterable[Login]) -> list[Login]:
        """Return the logins of the taxpayers in this share."""
        return [login for login in logins if self.has(login.context)]

    def file(self, database: Path) -> Path:
        """Return this share's own file beside `database`: ksef-3-of-8.duckdb for ksef.duckdb."""
        return database.with_stem(f"{database.stem}-{self.number}-of-{self.count}")


def shards_beside(database: Path) -> list[Shard]:
    """Return the shards whose loads have files beside the analysts' `database`.

    Raises `WarehouseError` when the taxpayers were shared out in two ways, for nobody knows
    which of two copies of a taxpayer is the newer one.
    """
    form = re.compile(rf"{re.escape(database.stem)}-(\d+)-of-(\d+)-load")
    stems = (file.stem for file in database.parent.glob(f"*{database.suffix}"))
    found = sorted(Shard(int(m[1]), int(m[2])) for m in map(form.fullmatch, stems) if m)
    counts = sorted({shard.count for shard in found})
    if len(counts) > 1:
        files = " and ".join(
            f"{database.stem}-*-of-{count}-load{database.suffix}" for count in counts
        )
        raise WarehouseError(
            f"{database.parent} has {files}: taxpayers shared out in two ways. Move those away "
            "that are no longer loaded"
        )
    return found


def refuse_another_split(database: Path, shard: Shard | None) -> None:
    """Raise `WarehouseError` for a load that shares out otherwise than those before it."""
    found = shards_beside(database)
    if not found or (shard is not None and shard.count == found[0].count):
        return
    count, asked = found[0].count, f"--shard {shard}" if shard else "without --shard"
    raise WarehouseError(
        f"the taxpayers of {database} are shared out among {count} loads, --shard 1/{count} and "
        f"so on. To load {asked}: let these end, run kseflow build, which unites what they "
        f"loaded, and move {database.stem}-*-of-{count}-load{database.suffix} away; the next "
        "load goes on from there"
    )
