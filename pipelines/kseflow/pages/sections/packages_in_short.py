"""The answer about export packages, in cards and sentences."""

from kseflow.pages.blocks import Cards, Text
from kseflow.pages.chosen import Marts
from kseflow.pages.package_numbers import (
    BEHIND_SQL,
    DAILY_PACKAGES_SQL,
    FULLEST_SQL,
    LAGS_SQL,
    WINDOWS_SQL,
    truncation_rate,
    which_caps,
)
from kseflow.pages.section import Section
from kseflow.words import counted, day_text, duration, percent


def packages_in_short(marts: Marts) -> Section:
    """Tell how often packages are truncated and whether exports keep up."""
    daily, fullest = marts.frame(DAILY_PACKAGES_SQL), marts.frame(FULLEST_SQL)
    if daily.empty:
        nothing = (
            "**No package was exported in these days.** Packages come with every `kseflow load` "
            "that may export (`--exports-per-hour` above 0), and are built by `kseflow build`."
        )
        return Section("In short", [Text([nothing])])
    rate, windows = truncation_rate(marts), marts.frame(WINDOWS_SQL)
    gaps = int((windows["relation"] == "gap").sum())
    most = fullest[["count_cap_share", "size_cap_share"]].max(axis=None)
    cards = Cards(
        {
            "Packages built": (f"{rate.whole:,}", f"of {daily['packages'].sum():,} asked for"),
            "Truncated": (str(rate), rate.counts),
            "Fullest package": (percent(most), "of a cap"),
            "Gaps between windows": (f"{gaps:,}", f"in {counted(len(windows), 'pair')}"),
        }
    )
    told = _truncated(marts) + _lag(marts) + _gaps(gaps, len(windows)) + _backlog(marts)
    return Section("In short", [cards, Text(told)])


def _truncated(marts: Marts) -> list[str]:
    rate, fullest = truncation_rate(marts), marts.frame(FULLEST_SQL)
    told = [
        f"**{rate.counted} of packages were truncated**: {which_caps(marts)}."
        if rate.part
        else f"**No package was truncated**, of {counted(rate.whole, 'package')} built."
    ]
    if len(fullest):
        most = fullest.iloc[0]
        told.append(
            f"**The fullest package** held {counted(most['invoice_count'], 'invoice')}, "
            f"{percent(most['count_cap_share'])} of the count cap and "
            f"{percent(most['size_cap_share'])} of the size cap: {most['context_id']} as "
            f"{most['subject_type']} on {day_text(most['day'])}."
        )
    return told


def _lag(marts: Marts) -> list[str]:
    lags = marts.frame(LAGS_SQL)
    if not lags["packages"].sum():
        return []
    overall = lags[lags["day"].isna()].iloc[0]
    return [
        f"**Exports are {duration(overall['p50'])} behind** what KSeF stores (median; 95% within "
        f"{duration(overall['p95'])}): younger invoices are in no package yet."
    ]


def _gaps(gaps: int, pairs: int) -> list[str]:
    if not pairs:
        return []
    what = "invoices stored in them are missing." if gaps else "nothing is missing."
    return [f"**{counted(gaps, 'gap')} between {counted(pairs, 'pair')} of windows**: {what}"]


def _backlog(marts: Marts) -> list[str]:
    """Tell whose exports lag behind; a part is a taxpayer as one subject type."""
    parts = marts.frame(BEHIND_SQL)
    waiting = parts[parts["exports_to_catch_up"].fillna(0) > 0]
    unclear = int(parts["exports_to_catch_up"].isna().sum())
    told = []
    if len(waiting):
        farthest = counted(int(waiting["exports_to_catch_up"].max()), "export")
        told.append(
            f"**{len(waiting)} of {len(parts)} taxpayers' parts lag behind**, the farthest by "
            f"{farthest}."
        )
    elif not unclear:
        told.append("**Nothing lags behind**: the last exports reached what KSeF had stored.")
    if unclear:
        told.append(
            f"**{unclear} of {len(parts)} taxpayers' parts do not move on**: the last exports of "
            "the day were not taken, or ended where they had begun."
        )
    return told
