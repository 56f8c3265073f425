"""How near export packages come to being truncated."""

import pandas as pd
import plotly.graph_objects as go

import kseflow.pages.charts as charts
import kseflow.pages.look as look
from kseflow.pages.blocks import Block, Table
from kseflow.pages.chosen import Marts
from kseflow.pages.package_numbers import DAILY_PACKAGES_SQL, FULLEST_SQL
from kseflow.pages.section import Section, say
from kseflow.words import day_text, percent, size_text


def nearness(marts: Marts) -> Section:
    """Tell how full packages are, of either cap."""
    title = "How near packages come to the caps"
    daily, fullest = marts.frame(DAILY_PACKAGES_SQL), marts.frame(FULLEST_SQL)
    if fullest.empty:
        return say(title, "KSeF has built no package in these days.")
    most = fullest.iloc[0]
    nearer = "count" if most["count_cap_share"] >= most["size_cap_share"] else "size"
    claim = (
        f"Packages come nearest to the {nearer} cap: the fullest used "
        f"{percent(most[f'{nearer}_cap_share'])} of it"
    )
    note = (
        "All packages: what those of a day held, as a share of what as many full ones would hold. "
        "The two scales differ."
    )
    blocks: list[Block] = [_fullest(fullest)]
    if len(daily) > 1:
        days = daily["day"]
        blocks.insert(0, charts.by_day(_caps(daily), daily, claim, note, days=days, height=420))
    intro = (
        "A taxpayer's part in the invoices is Subject1 (seller, sprzedawca), Subject2 (buyer, "
        "nabywca), Subject3 (a third party) or SubjectAuthorized."
    )
    return Section(title, blocks, intro)


def _caps(daily: pd.DataFrame) -> go.Figure:
    figure = charts.panels(("Share of 10,000 invoices", "Share of 1,000,000,000 bytes"))
    for row, cap in ((1, "count"), (2, "size")):
        figure.add_bar(
            x=daily["day"],
            y=daily[f"mean_{cap}_cap_share"],
            name="all packages",
            marker_color=look.ACCENT_LIGHT,
            showlegend=row == 1,
            hovertemplate="%{y:.2%}",
            row=row,
            col=1,
        )
        figure.add_scatter(
            x=daily["day"],
            y=daily[f"max_{cap}_cap_share"],
            name="the fullest",
            mode="markers",
            marker={
                "color": look.ACCENT,
                "size": 14,
                "symbol": "line-ew",
                "line": {"width": 4, "color": look.ACCENT},
            },
            showlegend=row == 1,
            hovertemplate="%{y:.2%}",
            row=row,
            col=1,
        )
    figure.update_yaxes(tickformat=".0%", row=1)
    figure.update_yaxes(tickformat=".2~%", row=2)
    return figure


def _fullest(fullest: pd.DataFrame) -> Table:
    frame = pd.DataFrame(
        {
            "Taxpayer": fullest["context_id"],
            "As": fullest["subject_type"],
            "Day": fullest["day"].map(day_text),
            "Invoices": fullest["invoice_count"],
            "Size": fullest["size_bytes"].map(size_text),
            "Of count cap": fullest["count_cap_share"].map(percent),
            "Of size cap": fullest["size_cap_share"].map(percent),
        }
    )
    return Table(frame, "The fullest packages")
