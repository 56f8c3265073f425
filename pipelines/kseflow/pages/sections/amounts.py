"""What the invoices that KSeF exported are worth, by month and by counterparty."""

from decimal import Decimal

import pandas as pd

from kseflow.pages.blocks import Block, Table
from kseflow.pages.chosen import Marts
from kseflow.pages.section import Section, say
from kseflow.words import counted, day_text

ROLES = {
    "seller": "sold",
    "buyer": "bought",
    "third_subject": "third subject",
    "authorized_subject": "authorized",
}
VERDICTS = {"complete": "yes", "not_complete": "no", "cannot_tell": "cannot tell"}
SHOWN = 10  # counterparties of a role
NO_EXPORTS = (
    "No invoice was exported, so there are no amounts: KSeF tells them in export packages alone. "
    "They come with every `kseflow load` that may export (`--exports-per-hour` above 0)."
)
MONTHS_NOTE = (
    "By issue date (P_1) and by the taxpayer's part; corrections are counted in. Net and gross "
    "are in the invoice's currency, VAT is always in PLN: currencies are never added. Complete: "
    "exports reach two weeks past the month's end without a hole and lack no accepted invoice."
)

MONTHLY_AMOUNTS_SQL = """
select
    month, role, currency,
    sum(invoice_count)::bigint as invoices,
    sum(net_amount) as net,
    sum(vat_amount_pln) as vat,
    sum(gross_amount) as gross,
    sum(correction_count)::bigint as corrections,
    case
        when bool_and(completeness = 'complete') then 'complete'
        when bool_or(completeness = 'not_complete') then 'not_complete'
        else 'cannot_tell'
    end as completeness,
    replace(string_agg(distinct doubt, ', ' order by doubt), '_', ' ') as doubts
from marts.monthly_amounts
where chosen_month(context_id, month)
group by month, role, currency
having sum(invoice_count) > 0
order by month, role desc, currency
"""

COUNTERPARTIES_SQL = """
select
    role, currency,
    any_value(counterparty_name) as name,
    coalesce(counterparty_identifier, '–') as identifier,
    sum(invoice_count)::bigint as invoices,
    sum(net_amount) as net,
    sum(gross_amount) as gross,
    max(last_issue_date) as last_day
from marts.counterparties
where chosen_taxpayer(context_id) and role in ('seller', 'buyer')
group by role, currency, counterparty_identifier_type, counterparty_identifier,
    case when counterparty_identifier is null then counterparty_name end
qualify row_number() over (partition by role, currency order by sum(gross_amount) desc) <= 10
order by role desc, currency, gross desc, identifier
"""


def money(amount: Decimal | None) -> str:
    """Write an amount to the grosz, 1,234.50; a dash for none."""
    return "–" if pd.isna(amount) else f"{amount:,.2f}"


def amounts(marts: Marts) -> Section:
    """Tell count, net, VAT and gross of each month, and whether the month is all here."""
    title, months = "Amounts", marts.frame(MONTHLY_AMOUNTS_SQL)
    if months.empty:
        return say(title, NO_EXPORTS)
    frame = pd.DataFrame(
        {
            "Month": months["month"].map("{:%b %Y}".format),
            "Part": months["role"].map(ROLES),
            "Invoices": months["invoices"],
            "Net": months["net"].map(money),
            "VAT, PLN": months["vat"].map(money),
            "Gross": months["gross"].map(money),
            "Currency": months["currency"],
            "Complete": months["completeness"].map(VERDICTS) + _doubts(months),
        }
    )
    table = Table(frame, _claim(months), MONTHS_NOTE, numbers=("Net", "VAT, PLN", "Gross"))
    blocks: list[Block] = [table, *_counterparties(marts)]
    return Section(title, blocks)


def _doubts(months: pd.DataFrame) -> pd.Series:
    return months["doubts"].map(lambda doubt: "" if pd.isna(doubt) else f": {doubt}")


def _claim(months: pd.DataFrame) -> str:
    kinds = months.groupby("month")["completeness"].agg(lambda found: set(found) == {"complete"})
    incomplete = int((~kinds).sum())
    told = counted(len(kinds), "month")
    if not incomplete:
        return f"{told}, complete" if len(kinds) == 1 else f"{told}, all complete"
    return f"{told}, {incomplete:,} not known to be complete"


def _counterparties(marts: Marts) -> list[Block]:
    found = marts.frame(COUNTERPARTIES_SQL)
    tables: list[Block] = []
    for role, heading in (("seller", "The largest buyers"), ("buyer", "The largest sellers")):
        rows = found[found["role"] == role]
        if rows.empty:
            continue
        frame = pd.DataFrame(
            {
                "Name": rows["name"],
                "Identifier": rows["identifier"],
                "Invoices": rows["invoices"],
                "Net": rows["net"].map(money),
                "Gross": rows["gross"].map(money),
                "Currency": rows["currency"],
                "Last issued": rows["last_day"].map(day_text),
            }
        )
        note = f"The first {SHOWN} of each currency by gross amount, over all days of this copy."
        tables.append(Table(frame, heading, note, numbers=("Net", "Gross")))
    return tables
