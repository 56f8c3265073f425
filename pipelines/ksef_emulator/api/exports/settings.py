"""How exports behave: what KSeF limits or leaves open, and what tests let go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Outcome = Literal[100, 210, 500, 550]

Tampering = Literal[
    "part-hash",  # both hashes of a part's plain bytes and encrypted bytes are wrong
    "part-size",  # both sizes of a part are one byte too large
    "metadata-cut",  # _metadata.json ends in the middle (#736)
    "metadata-missing",  # there is no _metadata.json
    "unknown-field",  # each row of _metadata.json has a field "unrecognised"
    "invoice-count",  # invoiceCount is one more than there are invoices
    "missing-invoice",  # the first invoice has a row, but no XML
    "altered-invoice",  # the first XML is not the one with the invoiceHash
    "unknown-member",  # the archive holds a readme.txt
    "parent-path",  # a member is called ../evil.xml
    "absolute-path",  # a member is called /evil.xml
    "symlink",  # a member evil.xml is a symbolic link to /etc/passwd
    "zip-bomb",  # a member is 200 MB of zeros
    "not-an-archive",  # the decrypted bytes are no archive
    "foreign-host",  # the links of the parts lead to another host
]

TAMPERINGS: tuple[str, ...] = get_args(Tampering)


@dataclass(frozen=True)
class ExportSettings:
    """Limits, times and mishaps of exports.

    `cap` invoices or `size_cap_bytes` (of the compressed archive) end a package, which is cut
    into parts of `part_bytes` before encryption. KSeF processes an export for `duration_s`; None
    is 3 to 5 seconds and 2 ms an invoice. permanentStorageHwmDate lies `hwm_lag_s` behind that
    moment, and until so long after its permanentStorageDate an invoice may be missing. Links of
    parts hold for `link_lifetime_s`. One subject may have `slots` exports at status 100.

    `outcomes` and `tampering` are by the number of the export at this emulator, the first is 1.
    Outcomes: 100 never ends, 210, 500 and 550 are the status it ends with.

    Quirks: `exact_cap_truncates` (#816) sets isTruncated when `cap` invoices were all there are;
    `metadata_overrun` (#821) gives one row more than `cap` and isTruncated false with
    onlyMetadata; `shows_compression_type` (since 2.7.1); the first `late_package_polls` that find
    status 200 do not find the package. Every evening from 18:00 to 20:00 UTC the
    permanentStorageHwmDate lies `hwm_steps_back_s` before that time, for KSeF has noticed that one
    invoice in eight of those hours was missing; it is found from then on.
    """

    cap: int = 10_000
    size_cap_bytes: int = 1_000_000_000
    part_bytes: int = 50_000_000
    duration_s: float | None = None
    hwm_lag_s: float = 150.0
    link_lifetime_s: float = 3600.0
    slots: int = 10
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    tampering: Mapping[int, Tampering] = field(default_factory=dict)
    exact_cap_truncates: bool = True
    metadata_overrun: bool = False
    shows_compression_type: bool = True
    late_package_polls: int = 0
    hwm_steps_back_s: float = 0.0

    def __post_init__(self) -> None:
        unknown = set(self.tampering.values()).difference(TAMPERINGS)
        if unknown:
            raise ValueError(f"no such tampering: {sorted(unknown)}")
