"""Taxpayers side by side."""

from kseflow.pages.blocks import Bar, Bars
from kseflow.pages.chosen import Marts
from kseflow.pages.numbers import failure_rate
from kseflow.pages.section import Section, say
from kseflow.words import Rate, counted, literal

SHOWN = 20

TAXPAYERS_SQL = """
select
    context_id,
    sum(failed_count)::bigint as failed,
    sum(decided_count)::bigint as decided
from marts.daily_outcomes
where chosen(context_id, day)
group by context_id
having sum(decided_count) > 0
order by failed desc, context_id
"""


def compared(marts: Marts) -> Section:
    """Tell the failure rates of the taxpayers with most failures."""
    title, taxpayers = "Taxpayers compared", marts.frame(TAXPAYERS_SQL)
    if len(taxpayers) < 2:
        return say(title, "There are not two taxpayers with decided invoices to compare.")
    top, rest = taxpayers.head(SHOWN), taxpayers.iloc[SHOWN:]
    rates = {row.context_id: Rate(row.failed, row.decided) for row in top.itertuples()}
    ordered = sorted(rates.items(), key=lambda item: item[1].value, reverse=True)
    worst, most = ordered[0]
    note = "Failed of decided invoices."
    if len(rest):
        others = Rate(int(rest["failed"].sum()), int(rest["decided"].sum()))
        note = (
            f"The {SHOWN} taxpayers with most failed invoices. The other {len(rest)} have "
            f"{others.counted}."
        )
    bars = [Bar(marts.name(who), rate.value, str(rate), rate.counts) for who, rate in ordered]
    claim = (
        f"{literal(marts.name(worst))} fails most often, {most}; all "
        f"{counted(len(taxpayers), 'taxpayer')} together {failure_rate(marts)}"
    )
    return Section(title, [Bars(bars, claim, note)])
