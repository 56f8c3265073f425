"""Our copy against KSeF's counters and against its exports, and the odd data in it."""

import pandas as pd

from kseflow.pages.blocks import Block, Table, Text
from kseflow.pages.chosen import Marts
from kseflow.pages.copy_numbers import (
    CAUSES,
    DIFFERENCES_SQL,
    KINDS,
    MONTHS_SQL,
    ODDITIES_SQL,
    closed_sessions,
    rows_here,
)
from kseflow.pages.section import Section
from kseflow.words import Rate, counted


def completeness(marts: Marts) -> Section:
    """Tell what the copy lacks against KSeF's own counters and against its exports, and why."""
    closed = closed_sessions(marts)
    if closed.empty:
        told = "KSeF has told of no closed session of these days."
    else:
        complete = Rate(int((~closed["is_lacking"]).sum()), len(closed))
        told = (
            f"{complete.counted} of closed sessions add up to KSeF's counters, with "
            f"{rows_here(marts).counted} of their invoices."
        )
    blocks: list[Block] = [Text([told])]
    tables = {DIFFERENCES_SQL: _differences, MONTHS_SQL: _months, ODDITIES_SQL: _oddities}
    for sql, table in tables.items():
        if len(rows := marts.frame(sql)):
            blocks.append(table(rows))
    return Section("Against KSeF's counters and exports", blocks)


def _oddities(oddities: pd.DataFrame) -> Table:
    frame = pd.DataFrame(
        {
            "What": oddities["kind"].map(KINDS).fillna(oddities["kind"].str.replace("_", " ")),
            "Whose fault": oddities["is_fault"].map({True: "this copy's", False: "KSeF told so"}),
            "Cases": oddities["cases"],
            "Rows": oddities["rows_concerned"],
            "For example": oddities["example"],
        }
    )
    note = "Dates are bounded and negative waits flagged, so that no rate depends on them."
    return Table(frame, "Odd data", note)


def _differences(differences: pd.DataFrame) -> Table:
    causes = differences["likely_cause"]
    frame = pd.DataFrame(
        {
            "Why": causes.map(CAUSES).fillna(causes),
            "Sessions": differences["sessions"],
            "Invoices lacking": differences["invoices"],
        }
    )
    note = "A session may differ in more than one counter. All: `marts.session_reconciliation`."
    return Table(frame, "What does not add up, and why", note)


def _months(months: pd.DataFrame) -> Table:
    frame = pd.DataFrame(
        {
            "Month": months["month"].map("{:%B %Y}".format),
            "Accepted by KSeF": months["counted"],
            "In rows": months["in_rows"],
            "In receipts": months["in_receipts"],
            "In exports": months["in_exports"],
            "In no row or receipt": months["nowhere"],
            "Missing in exports": months["missing"],
            "Not exported yet": months["not_exported_yet"],
        }
    )
    lacking = int((months["nowhere"] + months["missing"]).sum())
    claim = "No month lacks an accepted invoice where it should be"
    if lacking:
        claim = f"{counted(lacking, 'accepted invoice')} lacking where they should be"
    note = (
        "KSeF's counters against what is stored, by month of the session. Not exported yet: "
        "younger than the last export's high-water mark."
    )
    return Table(frame, claim, note)
