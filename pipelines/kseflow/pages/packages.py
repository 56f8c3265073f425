"""How often export packages are truncated, and how near the others come to it."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kseflow.pages import charts
from kseflow.pages.blocks import Block, Section, Table, say
from kseflow.pages.marts import Marts
from kseflow.pages.words import Rate, day_text, percent, short_moment, size_text

NO_PACKAGES = "There is no package to tell of."

DAILY_PACKAGES_SQL = """
select
    day,
    sum(package_count)::bigint as packages,
    sum(built_count)::bigint as built,
    sum(truncated_count)::bigint as truncated,
    sum(truncated_by_count_count)::bigint as by_count,
    sum(truncated_by_size_count)::bigint as by_size,
    sum(truncated_by_unknown_count)::bigint as by_unknown,
    max(max_count_cap_share) as max_count_cap_share,
    sum(mean_count_cap_share * built_count) / nullif(sum(built_count), 0) as mean_count_cap_share,
    max(max_size_cap_share) as max_size_cap_share,
    sum(mean_size_cap_share * built_count) / nullif(sum(built_count), 0) as mean_size_cap_share
from marts.package_truncation
where chosen(context_id, day)
group by day
order by day
"""

FULLEST_SQL = """
select context_id, subject_type, day, invoice_count, size_bytes, count_cap_share, size_cap_share
from marts.packages
where chosen(context_id, day) and is_built
order by greatest(count_cap_share, size_cap_share) desc, day, context_id, subject_type
limit 10
"""

TRUNCATED_SQL = """
select
    context_id, subject_type, truncated_by, invoice_count, size_bytes,
    timezone('Europe/Warsaw', requested_from) as begins,
    timezone('Europe/Warsaw', next_from) as reaches,
    last_issue_date,
    timezone('Europe/Warsaw', last_submitted_at) as last_taken_in,
    timezone('Europe/Warsaw', last_stored_at) as last_stored
from marts.packages
where chosen(context_id, day) and is_effectively_truncated
order by requested_at desc, context_id, subject_type
limit 10
"""

CUT_OFF = {"count": "by count", "size": "by size", "unknown": "near neither"}
CAPS = {
    "by count": ("by_count", "10,000 invoices", charts.FAULT),
    "by size": ("by_size", "1,000,000,000 bytes", charts.RANKED[0]),
    "near neither cap": ("by_unknown", "KSeF says so", charts.FAULT_LIGHT),
}


def truncation_rate(marts: Marts) -> Rate:
    """Truncated of built packages."""
    daily = marts.frame(DAILY_PACKAGES_SQL)
    return Rate(int(daily["truncated"].sum()), int(daily["built"].sum()))


def truncation(marts: Marts) -> Section:
    """Tell how many packages hit a cap, day by day."""
    title, daily, rate = "Truncation", marts.frame(DAILY_PACKAGES_SQL), truncation_rate(marts)
    if daily.empty:
        return say(title, NO_PACKAGES)
    claim = f"{rate.counted} of packages were truncated"
    claim += f", {which_caps(marts)}" if rate.part else ""
    if rate.part and len(daily) > 1:
        worst = daily.loc[daily["truncated"].idxmax()]
        claim += f"; most of them on {day_text(worst['day'])} ({worst['truncated']:,})"
    rows = pd.DataFrame(
        {
            "Day": daily["day"].map(day_text),
            "Asked for": daily["packages"],
            "Built": daily["built"],
            "Truncated": daily["truncated"],
            "By count": daily["by_count"],
            "By size": daily["by_size"],
            "Near neither": daily["by_unknown"],
        }
    )
    note = (
        "A package counts as truncated also when KSeF does not say so and it holds as many "
        "invoices as a package can."
    )
    intro = (
        "KSeF hands out invoices in packages of at most 10,000 invoices and 1,000,000,000 bytes. "
        "One that hits a cap is truncated: the rest needs another export. A day is the Warsaw day "
        "(Europe/Warsaw) on which KSeF completed the package."
    )
    chart = charts.by_day(_built(daily), rows, claim, note, days=daily["day"], height=400)
    cut_off = marts.frame(TRUNCATED_SQL)
    return Section(title, [chart, *([] if cut_off.empty else [_cut_off(cut_off)])], intro)


def which_caps(marts: Marts) -> str:
    """Say which caps cut packages off: 11 by count, 3 by size; empty when none did."""
    daily = marts.frame(DAILY_PACKAGES_SQL)
    counts = {name: int(daily[column].sum()) for name, (column, _, _) in CAPS.items()}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _cut_off(packages: pd.DataFrame) -> Table:
    frame = pd.DataFrame(
        {
            "Taxpayer": packages["context_id"],
            "As": packages["subject_type"],
            "Cut off": packages["truncated_by"].map(CUT_OFF),
            "Invoices": packages["invoice_count"],
            "Size": packages["size_bytes"].map(size_text),
            "Window": [
                f"{short_moment(row.begins)} to {short_moment(row.reaches)}"
                for row in packages.itertuples()
            ],
            "Last stored": packages["last_stored"].map(short_moment),
            "Taken in": packages["last_taken_in"].map(short_moment),
            "Issued": packages["last_issue_date"].map(day_text),
        }
    )
    note = (
        "The window is of permanent storage; beside it the last dates of invoices in the package. "
        "Invoices issued long before were stored late: sent late, or offline."
    )
    claim = f"The last {len(frame)} truncated packages" if len(frame) > 1 else "The truncated one"
    return Table(frame, claim, note)


def _built(daily: pd.DataFrame) -> go.Figure:
    figure = make_subplots(
        rows=2,
        shared_xaxes=True,
        vertical_spacing=0.14,
        row_heights=[0.6, 0.4],
        subplot_titles=["Packages built", "Truncation rate"],
    )
    shown = {"not truncated": (daily["built"] - daily["truncated"], charts.ACCENT)}
    for name, (column, _, colour) in CAPS.items():
        if daily[column].any():
            shown[f"truncated {name}"] = (daily[column], colour)
    for name, (counts, colour) in shown.items():
        hover = "%{y:,} " + name + "<extra></extra>"
        charts.bars(figure, daily["day"], counts, hover, name=name, colour=colour, row=1)
    charts.line(
        figure,
        daily["day"],
        daily["truncated"] / daily["built"].where(daily["built"] > 0),
        "%{y:.1%} (%{customdata[0]:,} of %{customdata[1]:,})<extra></extra>",
        colour=charts.FAULT,
        row=2,
        customdata=daily[["truncated", "built"]],
    )
    figure.update_layout(barmode="stack")
    figure.update_yaxes(tickformat=",", row=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1], row=2)
    return figure


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
    figure = make_subplots(
        rows=2,
        shared_xaxes=True,
        vertical_spacing=0.14,
        subplot_titles=["Share of 10,000 invoices", "Share of 1,000,000,000 bytes"],
    )
    for row, cap in ((1, "count"), (2, "size")):
        figure.add_bar(
            x=daily["day"],
            y=daily[f"mean_{cap}_cap_share"],
            name="all packages",
            marker_color=charts.ACCENT_LIGHT,
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
                "color": charts.ACCENT,
                "size": 14,
                "symbol": "line-ew",
                "line": {"width": 4, "color": charts.ACCENT},
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
