"""From page to page of a list: what the next one is asked for with, and when to stop asking."""

import re
from typing import Any

from kseflow.constants import BARREN_PAGES, CONTINUATION_BYTES
from kseflow.errors import ContractViolation, shown

PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")  # what may become a header


def continuation(path: str, token: object) -> str | None:
    """Return the continuation token, None at the end of a list."""
    if not token:
        return None
    if not isinstance(token, str) or len(token) > CONTINUATION_BYTES:
        raise ContractViolation(f"GET {path}: the continuation token is {shown(token)}")
    if not PRINTABLE.fullmatch(token):
        raise ContractViolation(f"GET {path}: the continuation token is no plain text")
    return token


class Circle:
    """Notice a list that goes in circles: pages that repeat, or tokens with nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._tokens: set[int] = set()
        self._pages = {hash(())}  # by the references in them
        self._barren_count = 0

    def check(self, items: list[Any], token: str) -> None:
        """Raise `ContractViolation` when going on after these items would bring nothing new."""
        page = hash(tuple(map(_number, items)))
        self._barren_count = self._barren_count + 1 if page in self._pages else 0
        is_old = hash(token) in self._tokens and not items
        if is_old or self._barren_count >= BARREN_PAGES:
            raise ContractViolation(
                f"GET {self._path}: the continuation token goes in circles, without a new row"
            )
        self._pages.add(page)
        self._tokens.add(hash(token))


def _number(item: Any) -> str | None:
    number = item.get("referenceNumber") if isinstance(item, dict) else None
    return number if isinstance(number, str) else None
