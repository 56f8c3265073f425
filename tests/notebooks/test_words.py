"""How the sections write numbers."""

from datetime import datetime

import pandas as pd
import pytest

from kseflow.pages.render import inline
from kseflow.words import (
    Rate,
    counted,
    day_text,
    days_text,
    duration,
    literal,
    moment_text,
    percent,
    short_moment,
    size_text,
)


def test_a_rate_is_written_with_what_it_rests_on() -> None:
    assert Rate(4, 1204).counted == "0.3% (4 of 1,204)"
    assert str(Rate(0, 0)) == "–"
    assert percent(0.0001) == "<0.1%"


def test_not_quite_all_is_never_written_as_all() -> None:
    assert percent(99_999 / 100_000) == ">99.9%"
    assert percent(1.0) == "100.0%"
    assert percent(0.9994) == "99.9%"


def test_counts_and_times_read_like_english() -> None:
    assert [counted(1, "day"), counted(1204, "day")] == ["1 day", "1,204 days"]
    assert counted(2, "kind of work", "kinds of work") == "2 kinds of work"
    assert [
        duration(seconds).replace("\N{NO-BREAK SPACE}", " ")
        for seconds in (7, 119, 150, 9000, 200_000)
    ] == [
        "7 s",
        "119 s",
        "2.5 min",
        "2.5 h",
        "2.3 days",
    ]


def test_days_are_written_with_the_year_once_and_both_when_they_differ() -> None:
    old, new = pd.Timestamp("2026-12-30"), pd.Timestamp("2027-01-02")
    assert days_text([old, old]) == "30 Dec 2026"
    assert days_text([pd.Timestamp("2026-12-01"), old]) == "1 Dec to 30 Dec 2026"
    assert days_text([old, new]) == "30 Dec 2026 to 2 Jan 2027"
    assert moment_text(datetime(2026, 11, 7, 9, 5)) == "7 Nov 2026 09:05"  # noqa: DTZ001
    assert short_moment(datetime(2026, 11, 7, 9, 5)) == "7 Nov 09:05"  # noqa: DTZ001
    assert [day_text(pd.NaT), day_text(None), moment_text(pd.NaT)] == ["–", "–", "–"]


def test_sizes_are_written_in_the_unit_a_person_would_use() -> None:
    sizes = [size_text(size).replace("\N{NO-BREAK SPACE}", " ") for size in (12, 5_650, 9.5e8)]
    assert sizes == ["12 bytes", "5.7 kB", "950.0 MB"]


@pytest.mark.parametrize("text", ["a *b* <i>c</i> [d](e)", "_x_ `y` &amp; \\* 1. z", "- # ~~q~~"])
def test_words_of_others_are_no_markup(text: str) -> None:
    assert inline(literal(text)) == (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
