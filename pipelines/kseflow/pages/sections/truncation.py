"""How often export packages are truncated, and what was cut off."""

import pandas as pd
import plotly.graph_objects as go

import kseflow.pages.charts as charts
import kseflow.pages.look as look
from kseflow.pages.blocks import Table
from kseflow.pages.chosen import Marts
from kseflow.pages.package_numbers import CAPS, DAILY_PACKAGES_SQL, truncation_rate, which_caps
from kseflow.pages.section import Section, say
from kseflow.words import day_text, short_moment, size_text

NO_PACKAGES = "There is no package to tell of."

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
COLOURS = {"by_count": look.FAULT, "by_size": look.RANKED[0], "by_unknown": look.FAULT_LIGHT}


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
    figure = charts.panels(("Packages built", "Truncation rate"), heights=[0.6, 0.4])
    shown = {"not truncated": (daily["built"] - daily["truncated"], look.ACCENT)}
    for name, column in CAPS.items():
        if daily[column].any():
            shown[f"truncated {name}"] = (daily[column], COLOURS[column])
    for name, (counts, colour) in shown.items():
        hover = "%{y:,} " + name + "<extra></extra>"
        charts.bars(figure, daily["day"], counts, hover, name=name, colour=colour, row=1)
    charts.line(
        figure,
        daily["day"],
        daily["truncated"] / daily["built"].where(daily["built"] > 0),
        "%{y:.1%} (%{customdata[0]:,} of %{customdata[1]:,})<extra></extra>",
        colour=look.FAULT,
        row=2,
        customdata=daily[["truncated", "built"]],
    )
    figure.update_layout(barmode="stack")
    figure.update_yaxes(tickformat=",", row=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1], row=2)
    return figure
