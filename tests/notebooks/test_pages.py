"""What the sections say, of the demo's file and of what might happen to it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from kseflow import pages
from kseflow.pages import charts
from kseflow.pages.blocks import Answer, Bars, Block, Cards, Chart, Table, Text
from kseflow.pages.numbers import UNRESOLVED_SQL, failure_rate, fates, kinds_of_work
from kseflow.pages.section import Section
from kseflow.pages.sections.amounts import money
from kseflow.words import literal

Changed = Callable[..., Path]
SHORTLY_AFTER = datetime(2026, 11, 17, 14, 10, tzinfo=UTC)  # minutes after the demo's last load
SHIFTED = (
    "update marts.package_truncation set day = day - 2 where subject_type = 'Subject1'",
    "update marts.packages set day = day - 2 where subject_type = 'Subject1'",
)


def opened(database: Path, **chosen: Any) -> pages.Marts:
    return pages.open_marts(database, now=SHORTLY_AFTER, **chosen)


def answer_of(section: Section) -> Answer:
    (answer,) = [block for block in section.blocks if isinstance(block, Answer)]
    return answer


def told(section: Section) -> str:
    """All words of a section, as they would be read."""
    return " ".join(str(word) for block in section.blocks for word in words_of(block))


def words_of(block: Block) -> list[str]:
    match block:
        case Text(sentences):
            return list(sentences)
        case Answer(_, headline, details):
            return [headline, *details]
        case Cards(numbers):
            return [word for name, both in numbers.items() for word in (name, *both)]
        case Bars(bars, claim, note):
            return [claim, note, *(f"{bar.name} {bar.words} {bar.text}" for bar in bars)]
        case Table(frame, claim, note):
            return [claim, note, *frame.astype(str).to_numpy().ravel()]
        case Chart(_, claim, note):
            return [claim, note]


def tables(section: Section) -> list[pd.DataFrame]:
    return [block.frame for block in section.blocks if isinstance(block, Table)]


@pytest.mark.slow
@pytest.mark.parametrize("world", ["database", "backfill"])
def test_what_became_of_failures_adds_up_to_the_failed(
    world: str, request: pytest.FixtureRequest
) -> None:
    with opened(request.getfixturevalue(world)) as marts:
        found = fates(marts)
        parts = found._asdict()
        assert found.failed > 0
        assert parts.pop("failed") == sum(parts.values()) - parts["in_open"]
        assert failure_rate(marts).part <= found.failed


def test_a_section_that_is_told_twice_asks_once(database: Path) -> None:
    with opened(database) as marts:
        first, again = pages.to_act_on(marts), pages.to_act_on(marts)
        for one, other in zip(tables(first), tables(again), strict=True):
            pd.testing.assert_frame_equal(one, other)
        frame = marts.frame(UNRESOLVED_SQL)
        frame["invoice_count"] = 0  # nobody else sees this
        assert marts.frame(UNRESOLVED_SQL)["invoice_count"].sum() > 0


def test_without_failures_everything_is_well(changed: Changed) -> None:
    healed = changed(
        "delete from marts.unresolved_failures",
        "delete from marts.failed_invoices",
        "update marts.daily_outcomes set accepted_count = decided_count, failed_count = 0, "
        "unclassified_failed_count = 0, session_failed_count = 0",
        "update marts.sessions set is_stuck = false",
    )
    with opened(healed) as marts:
        got_in, to_do = answer_of(pages.did_they_get_in(marts)), pages.what_to_do_today(marts)
        assert (got_in.state, answer_of(to_do).state) == ("good", "good")
        assert got_in.headline.startswith("**Yes: every invoice")
        assert "100.0%" in got_in.details[0]


def test_a_session_of_unknown_size_is_work_although_no_invoice_is_counted(
    changed: Changed,
) -> None:
    only = changed("delete from marts.unresolved_failures where what = 'invoice'")
    with opened(only) as marts:
        sessions = marts.frame(UNRESOLVED_SQL)
        work = kinds_of_work(sessions)
        assert work["sessions"].sum() == (sessions["invoice_count"] == 0).sum() > 0
        assert "of unknown size" in told(pages.to_act_on(marts))
        assert "of unknown size" in told(pages.what_to_do_today(marts))


def test_sessions_that_failed_as_a_whole_are_told_with_their_invoices(changed: Changed) -> None:
    refused = changed(
        "update marts.sessions set invoice_count = 10501, failed_count = 10501, "
        "accepted_count = 0, is_failed_as_whole = true, is_closed_empty = false, "
        "meaning = 'More invoices in the package than allowed' where session_reference_number = "
        "(select min(session_reference_number) from marts.sessions where not is_failed_as_whole)"
    )
    with opened(refused) as marts:
        section = pages.whole_sessions(marts)
        (frame,) = tables(section)
        assert 10_501 in set(frame["Invoices"].dropna())
        assert "More invoices in the package than allowed" in set(frame["Why"])


def test_the_oldest_are_a_line_for_equal_ones_of_a_session(database: Path) -> None:
    with opened(database) as marts:
        unresolved = marts.frame(UNRESOLVED_SQL)
        keys = ["session_reference_number", "reason", "who_acts", "context_id"]
        _, oldest = tables(pages.to_act_on(marts))
        assert len(unresolved) > len(unresolved.drop_duplicates(keys)) >= len(oldest)
        first = unresolved.sort_values("submitted").iloc[0]
        same = unresolved[(unresolved[keys] == first[keys]).all(axis=1)]
        assert oldest["Reason"].iloc[0] in set(unresolved["reason"])
        assert same["invoice_count"].sum() in set(oldest["Invoices"].fillna(0))


def test_nothing_that_ksef_refused_is_told_with_an_amount(database: Path) -> None:
    with opened(database) as marts:
        assert "KSeF tells no amount" in pages.to_act_on(marts).intro


def test_an_old_copy_says_that_it_is_old(database: Path) -> None:
    late = SHORTLY_AFTER + timedelta(days=3)
    with pages.open_marts(database, now=late) as marts:
        answer = answer_of(pages.is_the_copy_complete(marts))
    assert answer.state == "bad"
    assert "It is old" in answer.details[0]
    assert "3.0" in answer.details[0]


def test_a_fresh_and_whole_copy_is_complete(database: Path) -> None:
    with opened(database) as marts:
        answer = answer_of(pages.is_the_copy_complete(marts))
    assert (answer.state, answer.headline) == (
        "good",
        "**Yes: every closed session adds up to KSeF's counters.**",
    )


def test_rows_that_are_lost_make_the_copy_incomplete_and_say_why(changed: Changed) -> None:
    lost = changed(
        "update marts.sessions set is_complete = false, unread_count = 5 "
        "where session_reference_number = (select max(session_reference_number) "
        "from marts.sessions where invoice_count > 5 and not is_open)",
        "insert into marts.session_reconciliation by name select context_type, context_id, "
        "session_reference_number, 'total' as counter, session_type, 5 as difference_count, "
        "'rows_lost' as likely_cause from marts.sessions where unread_count = 5",
    )
    with opened(lost) as marts:
        answer = answer_of(pages.is_the_copy_complete(marts))
        assert answer.headline.startswith("**No: 5 invoices of ")
        assert "rows that were read are gone" in " ".join(answer.details)
        (differences, *_) = tables(pages.completeness(marts))
        lacking = differences.set_index("Why")["Invoices lacking"]
        assert lacking["rows that were read are gone from this copy"] == 5


def test_who_is_left_out_is_named_unless_the_report_is_of_others(changed: Changed) -> None:
    lacking = changed(
        "update published set left_out = "
        '\'[{{"context_type":"Nip","context_id":"5265877635","reason":"odd"}}]\''
    )
    with opened(lacking) as everybody, opened(lacking, taxpayers=["8351915077"]) as one:
        answer = answer_of(pages.is_the_copy_complete(everybody))
        assert answer.state == "bad"
        assert "**1 taxpayer is left out**" in told(pages.is_the_copy_complete(everybody))
        assert "5265877635" in told(pages.is_the_copy_complete(everybody))
        assert "5265877635" not in told(pages.is_the_copy_complete(one))


def test_what_the_copy_lost_is_told_and_what_ksef_told_oddly_only_below(changed: Changed) -> None:
    odd = changed(
        "insert into marts.oddities values "
        "('Nip', '8351915077', 'rows_lost', true, 1, 12, '20261110-SB-1'), "
        "('Nip', '8351915077', 'negative_wait', false, 2, 3, '20261110-SB-2')"
    )
    with opened(odd) as marts:
        answer = told(pages.is_the_copy_complete(marts))
        assert "rows that were read and are not here" in answer
        assert "before they were sent" not in answer
        assert "before they were sent" in told(pages.completeness(marts))


def test_the_time_ksef_takes_is_told_of_online_sessions_alone(
    database: Path, changed: Changed
) -> None:
    slow = changed(
        "update marts.invoices set seconds_to_acceptance = 9000 where session_type = 'Batch' "
        "and seconds_to_acceptance is not null"
    )
    with opened(database) as before, opened(slow) as after:
        usual, section = pages.time_to_acceptance(before), pages.time_to_acceptance(after)
        assert isinstance(usual.blocks[0], Chart)
        assert isinstance(section.blocks[0], Chart)
        assert usual.blocks[0].claim == section.blocks[0].claim
        assert "2.5\N{NO-BREAK SPACE}h (median)" in told(section)
        assert "upload" in section.intro


def test_a_chart_of_one_day_is_a_table_and_of_two_days_a_chart() -> None:
    days = pd.Series(pd.to_datetime(["2026-11-16", "2026-11-17"]))
    rows = pd.DataFrame({"Day": ["16 Nov", "17 Nov"], "Failed": [1, 2]})
    one = charts.by_day(go.Figure(), rows.head(1), "claim", days=days.head(1))
    two = charts.by_day(go.Figure(), rows, "claim", days=days)
    assert isinstance(one, Table)
    assert isinstance(two, Chart)


def test_packages_of_several_days_are_drawn_and_of_one_told(
    database: Path, changed: Changed
) -> None:
    with opened(database) as one, opened(changed(*SHIFTED)) as several:
        for section in (pages.truncation, pages.build_times, pages.behind, pages.backlog):
            assert isinstance(section(one).blocks[0], Table), section.__name__
            assert isinstance(section(several).blocks[0], Chart), section.__name__


def test_truncated_packages_say_by_which_cap(changed: Changed) -> None:
    cut = changed(
        "update marts.package_truncation set built_count = 10, truncated_count = 6, "
        "truncated_by_count_count = 3, truncated_by_size_count = 2, truncated_by_unknown_count = 1 "
        "where subject_type = 'Subject1' and context_id = '8351915077'",
        "update marts.package_truncation set truncated_count = 0, truncated_by_count_count = 0, "
        "truncated_by_size_count = 0, truncated_by_unknown_count = 0 "
        "where not (subject_type = 'Subject1' and context_id = '8351915077')",
    )
    with opened(cut) as marts:
        for section in (pages.truncation(marts), pages.packages_in_short(marts)):
            assert "3 by count, 2 by size, 1 near neither cap" in told(section)


def test_the_widest_window_is_that_of_the_densest_package(changed: Changed) -> None:
    dense = changed(
        "update marts.packages set widest_window_hours = 1.5 where package_reference_number = "
        "(select min(package_reference_number) from marts.packages "
        "where widest_window_hours is not null)"
    )
    with opened(dense) as marts:
        section = pages.widest_windows(marts)
    assert "A window of 90.0\N{NO-BREAK SPACE}min would not have been truncated" in told(section)


def test_months_and_currencies_are_never_added(database: Path) -> None:
    with opened(database) as marts:
        (months, *_) = tables(pages.amounts(marts))
        expected = marts.frame(
            "select currency, role, sum(gross_amount) as gross, sum(vat_amount_pln) as vat "
            "from marts.monthly_amounts where invoice_count > 0 group by all"
        )
    for currency in expected["currency"].unique():
        shown = months[months["Currency"] == currency]
        of_currency = expected[expected["currency"] == currency]
        for column, name in (("Gross", "gross"), ("VAT, PLN", "vat")):
            amounts = [Decimal(text.replace(",", "")) for text in shown[column]]
            assert sum(amounts) == of_currency[name].sum(), (currency, column)
    assert months["Currency"].nunique() > 1


def test_money_is_written_to_the_grosz() -> None:
    assert [money(Decimal("-1234.5")), money(Decimal("0")), money(None)] == [
        "-1,234.50",
        "0.00",
        "–",
    ]


def test_one_incomplete_taxpayer_makes_a_month_incomplete(changed: Changed) -> None:
    doubtful = changed(
        "update marts.monthly_amounts set completeness = 'complete', doubt = null",
        "update marts.monthly_amounts set completeness = 'not_complete', doubt = "
        "'hole_in_exports' where role = 'seller' and context_id = '8351915077'",
    )
    with opened(doubtful) as marts:
        (months, *_) = tables(pages.amounts(marts))
    verdicts = months.groupby("Part")["Complete"].agg(set)
    assert verdicts["sold"] == {"no: hole in exports"}
    assert verdicts["bought"] == {"yes"}


def test_a_taxpayer_is_called_by_its_name_where_it_has_one(changed: Changed) -> None:
    named = changed(
        "update marts.taxpayers set name = "
        "case when context_id = '8351915077' then 'Stal & Spółka' end"
    )
    with opened(named) as marts:
        assert marts.name("8351915077") == "Stal & Spółka (8351915077)"
        assert marts.name("7438939438") == "7438939438"
        assert "Stal & Spółka (8351915077) " in told(pages.compared(marts))


def test_the_verdict_and_its_reasons_are_those_of_trends(database: Path) -> None:
    with opened(database) as marts:
        headline = marts.changes[0]
        section = pages.better_or_worse(marts)
        assert headline.kind == "headline"
        assert literal(headline.sentence) == answer_of(section).details[0]
        (compared, *_) = tables(pages.what_changed(marts))
        assert compared["Failed"].tolist() == [
            f"{headline.before_failed_count:,} of {headline.before_decided_count:,}",
            f"{headline.after_failed_count:,} of {headline.after_decided_count:,}",
        ]


def test_chosen_days_end_the_trend_where_they_end(database: Path) -> None:
    with opened(database, last="2026-11-15") as marts:
        assert str(marts.changes[0].last_day) == "2026-11-15"
