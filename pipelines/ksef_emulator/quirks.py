"""Knobs for what KSeF does not promise and nobody outside knows; README.md tells of each.

Those that change what there is to tell are in `Oddities` and `ExportSettings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

HiddenSession = Literal["403", "21173"]
InvoiceOrder = Literal["ordinal", "any"]


@dataclass(frozen=True)
class Quirks:
    """What KSeF does not promise; tests may choose.

    `pending_polls` counts the status polls that find a login pending, `short_pages` allows
    short and empty pages before the last one, `inclusive_bounds` tells whether date filters
    include their ends. A page of a session's UPO holds `upo_page_size` documents and exists from
    `upo_delay_s` after the session has its last status. `storage_refuses_tokens` lets a storage
    link fail when it is asked with an Authorization header. `owner_claim` has an owner's
    certificate claim `Owner`, as recorded, else each right by its name.

    GET /sessions takes spans of `list_span_days` (None: any), and sees each session as it was up
    to `list_lag_s` ago; each session has a lag of its own. `invoice_order` sorts a session's
    invoices. With `null_fields` what has no value is null, else absent.
    A `hidden_session`, one that the caller may not see, is refused as 403 or as unknown; a bad
    bearer with 401, or `empty_403`. `firewall_share` (0 to 1) of all requests meet a page of the
    firewall, with HTTP 200.
    With `failed_apart` …/invoices/failed has a counter of its own; with `refused_count` a 429
    counts as a request. KSeF tokens end `token_days` after they were made.
    """

    pending_polls: int = 1
    short_pages: bool = True
    inclusive_bounds: bool = True
    upo_page_size: int = 10_000
    upo_delay_s: float = 0.0
    storage_refuses_tokens: bool = True
    owner_claim: bool = True
    list_span_days: int | None = None
    list_lag_s: float = 0.0
    invoice_order: InvoiceOrder = "ordinal"
    null_fields: bool = False
    hidden_session: HiddenSession = "403"
    empty_403: bool = False
    firewall_share: float = 0.0
    failed_apart: bool = False
    refused_count: bool = False
    token_days: int | None = None

    def __post_init__(self) -> None:
        for value, known in (
            (self.hidden_session, get_args(HiddenSession)),
            (self.invoice_order, get_args(InvoiceOrder)),
        ):
            if value not in known:
                raise ValueError(f"{value!r} is none of {known}")


GUESSES = Quirks()
"""What the emulator does unless it is told otherwise."""
