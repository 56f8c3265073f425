"""Why invoices fail, whom it concerns, and how the reasons change."""

import pandas as pd
import plotly.graph_objects as go

import kseflow.pages.charts as charts
import kseflow.pages.look as look
from kseflow.pages.blocks import Bar, Bars, Block, Table
from kseflow.pages.chosen import Marts
from kseflow.pages.numbers import total
from kseflow.pages.section import Section, say
from kseflow.words import Rate, counted, percent

SHOWN = 8  # reasons with a bar of their own
NAMED = 5  # categories with a colour of their own
UNREAD = "not_read_yet"  # known from KSeF's counters, without a reason so far

REASONS_SQL = """
select
    category, normalised_message,
    min(who_acts) as who_acts,
    sum(failed_count)::bigint as failed,
    sum(open_failed_count)::bigint as open_failed
from marts.failure_reasons
where chosen(context_id, day)
group by category, normalised_message
order by failed desc, category, normalised_message
"""

CATEGORIES_SQL = """
select day, category, sum(failed_count)::bigint as failed
from marts.failure_reasons
where chosen(context_id, day)
group by all
having sum(failed_count) > 0
order by day, category
"""

MEANINGS_SQL = """
select
    category,
    string_agg(distinct category_meaning, '; ' order by category_meaning) as meaning,
    string_agg(distinct who_acts, ', ' order by who_acts) as who_acts,
    sum(failed_count)::bigint as failed
from marts.failure_reasons
where chosen(context_id, day)
group by category
having sum(failed_count) > 0
order by failed desc, category
"""


def reasons(marts: Marts) -> Section:
    """Tell the most frequent reasons in full, and the kinds of mistake day by day."""
    title, found = "Reasons", marts.frame(REASONS_SQL)
    if found["failed"].sum() == 0:
        return say(title, "No invoice failed in these days.")
    blocks: list[Block] = [_bars(marts, found), _kinds(marts)]
    days = marts.frame(CATEGORIES_SQL)
    shares = days.groupby("category")["failed"].sum().sort_values(ascending=False)
    known = shares.drop(UNREAD, errors="ignore")
    stacked = _stacked(days, list(known.index[:NAMED]))
    if len(stacked) > 1 and len(known):
        named = [f"*{name}* is {percent(known[name] / known.sum())}" for name in known.index[:2]]
        claim = f"{' and '.join(named)} of all failures"
        claim += " whose rows are read" if UNREAD in shares else ""
        note = "Failed invoices of each day by kind of mistake."
        figure = _stack(stacked)
        blocks.append(charts.by_day(figure, stacked, claim, note, days=stacked.index, height=320))
    return Section(title, blocks)


def _bars(marts: Marts, found: pd.DataFrame) -> Bars:
    known = found[found["failed"] > 0]
    top, rest, all_failed = known.head(SHOWN), known.iloc[SHOWN:], int(known["failed"].sum())
    bars = [
        Bar(
            row.category,
            row.failed,
            f"{Rate(row.failed, all_failed).counted}, {row.who_acts}",
            row.normalised_message,
            look.UNREAD if row.category == UNREAD else look.FAULT,
        )
        for row in top.itertuples()
    ]
    claim = f"{counted(len(known), 'reason')} for {counted(all_failed, 'failure')}"
    if len(rest):
        others = Rate(int(rest["failed"].sum()), all_failed)
        name = counted(len(rest), "other reason")
        bars.append(Bar(name, others.part, others.counted, colour=look.GREY))
        first = Rate(all_failed - others.part, all_failed)
        claim = f"The first {len(top)} of {counted(len(known), 'reason')} make up "
        claim += f"{first.counted} of failures"
    return Bars(bars, claim, _note(marts, int(found["open_failed"].sum())))


def _note(marts: Marts, in_open: int) -> str:
    """Say what the reasons count, and why that is not another number than elsewhere."""
    note = (
        "KSeF's messages without numbers and values, so that equal mistakes are one reason, and "
        "who has to act on them."
    )
    if in_open:
        note += f" {counted(in_open, 'failure')} in sessions still open come on top."
    if beyond := total(marts, "uncounted"):
        note += f" {counted(beyond, 'failure')} of them KSeF lists beyond its own counters."
    return note


def _kinds(marts: Marts) -> Table:
    kinds = marts.frame(MEANINGS_SQL)
    frame = pd.DataFrame(
        {
            "Kind": kinds["category"],
            "What it means": kinds["meaning"],
            "Who acts": kinds["who_acts"],
            "Failed": kinds["failed"],
        }
    )
    return Table(frame, "What the kinds mean")


def _stacked(days: pd.DataFrame, named: list[str]) -> pd.DataFrame:
    """Return a row a day and a column a category, the frequent ones first, then the others."""
    kept = days["category"].isin([*named, UNREAD])
    days["category"] = days["category"].where(kept, "others")
    made = days.pivot_table(
        index="day", columns="category", values="failed", aggfunc="sum", fill_value=0
    )
    return made[[name for name in [*named, "others", UNREAD] if name in made]]


def _stack(stacked: pd.DataFrame) -> go.Figure:
    figure = go.Figure()
    special = {"others": look.GREY, UNREAD: look.UNREAD}
    for number, name in enumerate(stacked):
        colour = special.get(name, look.RANKED[min(number, len(look.RANKED) - 1)])
        hover = "%{y:,} " + name + "<extra></extra>"
        charts.bars(figure, stacked.index, stacked[name], hover, name=name, colour=colour)
    figure.update_layout(barmode="stack", yaxis_tickformat=",")
    return figure
