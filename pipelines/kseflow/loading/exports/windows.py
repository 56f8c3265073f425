"""Windows of exports that touch: where one begins, and where it ends for certain.

After a truncated package the next window begins at its last invoice, else at the high-water mark
(HWM), up to which KSeF vouches that no further invoice will appear.
Source: docs przyrostowe-pobieranie-faktur.md, hwm.md
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kseflow.constants import EXPORT_SPAN, MOST_SKEW, PACKAGE_CAP
from kseflow.errors import ContractViolation, KsefError


@dataclass(frozen=True)
class Window:
    """What one export asks for: invoices stored for good since a moment (KSeF's own text)."""

    subject_type: str
    begin_text: str
    end: datetime | None

    @classmethod
    def following(cls, subject_type: str, begin_text: str, now: datetime) -> "Window":
        """Return the window from a moment to now, or as far as KSeF allows."""
        furthest = datetime.fromisoformat(begin_text) + EXPORT_SPAN
        return cls(subject_type, begin_text, furthest if furthest < now else None)

    def filters(self) -> dict[str, Any]:
        """Return them as POST /invoices/exports wants them."""
        dates = {
            "dateType": "PermanentStorage",
            "from": self.begin_text,
            "restrictToPermanentStorageHwmDate": True,
        }
        if self.end is not None:
            dates["to"] = self.end.astimezone(UTC).isoformat(timespec="microseconds")
        return {"subjectType": self.subject_type, "dateRange": dates}


@dataclass(frozen=True)
class AskedExport:
    """An export asked for: when (UTC), and whether it brought the copy up to the HWM."""

    at: datetime
    is_caught_up: bool


@dataclass(frozen=True)
class Outcome:
    """What a package leaves behind: where the next begins, and what is wrong with it, if any."""

    next_from_text: str
    is_truncated: bool | None = None
    metadata_count: int | None = None
    trouble: KsefError | None = None


def outcome_of(
    window: Window, package: dict[str, Any], metadata: pa.Table, now: datetime
) -> Outcome:
    """Follow KSeF's rule for the next window, and mistrust its flag at the cap.

    Raises `ContractViolation` for a package without the dates it needs, or with one after `now`.
    """
    count = max(package["invoiceCount"], metadata.num_rows)
    is_truncated = bool(package["isTruncated"]) or count >= PACKAGE_CAP
    if is_truncated:
        # A full package that KSeF did not call truncated has no such date.
        latest = pc.max(metadata["permanent_storage_date"]).as_py()
        reached = package.get("lastPermanentStorageDate") or (latest and latest.isoformat())
    else:
        ends = [package.get("permanentStorageHwmDate"), window.end and window.end.isoformat()]
        reached = min((end for end in ends if end), key=ticks, default=None)
    if reached is None:
        raise ContractViolation("a package without the dates that say where the next one begins")
    if datetime.fromisoformat(reached) > now + MOST_SKEW:
        raise ContractViolation(f"a package tells of {reached}, which is after now")
    if ticks(reached) > ticks(window.begin_text):
        return Outcome(reached, is_truncated, metadata.num_rows)
    trouble = None
    if is_truncated:
        trouble = ContractViolation(
            f"{window.subject_type}: {count} or more invoices are stored at one instant, "
            f"{window.begin_text}; KSeF cannot page through it, so some of them are missing. "
            "Exports stop here until --exports-from lets them begin after it"
        )
    return Outcome(window.begin_text, is_truncated, metadata.num_rows, trouble)


def ticks(text: str) -> int:
    """Return a moment of KSeF's as whole ticks of 100 ns since 1970: all 7 decimals count."""
    fraction = re.search(r"\.(\d{1,7})", text)
    moment = datetime.fromisoformat(text).replace(microsecond=0)
    whole_s = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return whole_s * 10_000_000 + (int(fraction[1].ljust(7, "0")) if fraction else 0)
