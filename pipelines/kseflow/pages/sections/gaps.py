"""Whether anything is missing between export packages, and how much is still to export."""

import pandas as pd

from kseflow.pages.blocks import Bar, Bars, Block, Table
from kseflow.pages.chosen import Marts
from kseflow.pages.look import ACCENT
from kseflow.pages.package_numbers import BEHIND_SQL, WINDOWS_SQL
from kseflow.pages.section import Section, say
from kseflow.words import counted, duration

EXPORTS_PER_HOUR = 4  # what kseflow asks for each subject type, of the 20 that KSeF allows in all
SHOWN = 15

UNBUILT_SQL = """
select
    outcome, what_to_do, count(*) as packages,
    min(seconds_to_expiry) as seconds_to_expiry
from marts.packages
where chosen(context_id, day) and outcome not in ('complete', 'truncated', 'empty')
group by all
order by packages desc, outcome, what_to_do
"""


def gaps(marts: Marts) -> Section:
    """Tell whether each window begins where the one before ended."""
    title, windows = "Gaps between windows", marts.frame(WINDOWS_SQL)
    if windows.empty:
        nothing = "No two packages follow each other in these days, so there is nothing to compare."
        return say(title, nothing)
    found = windows[windows["relation"] == "gap"]
    relations = windows.groupby(["subject_type", "relation"]).size().unstack(fill_value=0)
    relations = relations.reindex(columns=["touching", "overlap", "gap"], fill_value=0)
    relations.columns = ["Touching", "Overlapping", "With a gap"]
    frame = relations.rename_axis("As").reset_index()
    claim = f"{counted(len(found), 'gap')} in {counted(len(windows), 'pair')} of windows"
    note = (
        "Touching: a window begins where the one before ended, to the ten-millionth of a second. "
        "Overlap: invoices come twice, which is harmless. Gap: invoices may be missing."
    )
    blocks: list[Block] = [Table(frame, claim, note)]
    if len(found):
        blocks.append(_longest(found))
    return Section(title, blocks)


def _longest(found: pd.DataFrame) -> Table:
    shown = found.nlargest(SHOWN, "difference_seconds")
    frame = pd.DataFrame(
        {
            "Taxpayer": shown["context_id"],
            "As": shown["subject_type"],
            "Window begins": shown["begins"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "Gap before it": shown["difference_seconds"].map(duration),
            "Package": shown["package_reference_number"],
        }
    )
    claim = f"The {counted(len(shown), 'longest gap')}" if len(shown) > 1 else "The gap"
    return Table(frame, claim)


def catching_up(marts: Marts) -> Section:
    """Tell which parts still need exports to reach what KSeF has stored."""
    title, parts = "Catching up", marts.frame(BEHIND_SQL)
    if parts.empty:
        return say(title, "There is no export to judge by.")
    waiting = parts[parts["exports_to_catch_up"].fillna(0) > 0]
    if waiting.empty:
        return say(
            title,
            f"Nothing: no taxpayer's part, of {len(parts)}, is known to need another export to "
            "reach the high-water mark.",
        )
    top = waiting.head(SHOWN)
    bars = [
        Bar(row.context_id, count, _wait(int(count)), f"as {row.subject_type}", ACCENT)
        for row, count in zip(top.itertuples(), top["exports_to_catch_up"], strict=True)
    ]
    claim = f"{len(waiting)} of {len(parts)} taxpayers' parts still have exports to catch up with"
    note = f"Estimated from the last package of each, at {EXPORTS_PER_HOUR} exports an hour."
    if len(waiting) > len(top):
        note += f" Shown are the first {len(top)}."
    return Section(title, [Bars(bars, claim, note)])


def _wait(exports: int) -> str:
    return f"{counted(exports, 'export')}, {duration(exports / EXPORTS_PER_HOUR * 3600)}"


def _kept(seconds: float) -> str:
    """Write how long KSeF keeps a package that was built and not taken; a dash for none."""
    if pd.isna(seconds):
        return "–"
    return f"{duration(seconds)} more" if seconds > 0 else "no more"


def unbuilt(marts: Marts) -> Section:
    """Tell which packages brought nothing, and what to do about them."""
    title, found = "Packages that brought nothing", marts.frame(UNBUILT_SQL)
    if found.empty:
        return say(title, "Every package that was asked for was built and taken.")
    frame = pd.DataFrame(
        {
            "Outcome": found["outcome"].str.replace("_", " "),
            "What to do": found["what_to_do"],
            "Packages": found["packages"],
            "KSeF keeps the first": found["seconds_to_expiry"].map(_kept),
        }
    )
    claim = f"{counted(int(found['packages'].sum()), 'package')} brought no invoices"
    return Section(title, [Table(frame, claim)])
