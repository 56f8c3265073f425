"""How the notebooks judge and write numbers."""

import pandas as pd
import pytest

from kseflow.notebook import Rate, counted, duration, label, percent, turning_point, verdict


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Rate(20, 1000), Rate(50, 1000), "worse"),
        (Rate(50, 1000), Rate(20, 1000), "better"),
        (Rate(2, 100), Rate(3, 100), "unchanged"),  # may be chance
        (Rate(500_000, 1_000_000), Rate(505_000, 1_000_000), "unchanged"),  # no chance, but small
        (Rate(0, 100), Rate(0, 100), "unchanged"),
        (Rate(0, 0), Rate(5, 100), "unknown"),
        (Rate(5, 100), Rate(0, 0), "unknown"),
    ],
)
def test_worse_and_better_are_said_of_large_and_certain_changes_only(
    before: Rate, after: Rate, expected: str
) -> None:
    assert verdict(before, after) == expected


def test_the_turning_point_is_where_the_rates_differ_most() -> None:
    daily = pd.DataFrame({"failed": [1, 0, 1, 9, 8, 10], "decided": [100] * 6})
    assert turning_point(daily, "failed", "decided") == 3


def test_one_day_has_no_turning_point() -> None:
    daily = pd.DataFrame({"failed": [1], "decided": [100]})
    assert turning_point(daily, "failed", "decided") is None


def test_a_rate_is_written_with_what_it_rests_on() -> None:
    assert Rate(4, 1204).counted == "0.3% (4 of 1,204)"
    assert str(Rate(0, 0)) == "–"
    assert percent(0.0001) == "<0.1%"


def test_counts_and_times_read_like_english() -> None:
    assert [counted(1, "day"), counted(1204, "day")] == ["1 day", "1,204 days"]
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


def test_words_of_others_are_no_markup_in_a_chart() -> None:
    assert label("a<b", "<a href='x'>") == "<b>a&lt;b</b> &lt;a href='x'&gt;"
    assert label("x", "word " * 40).count("<br>") == 1
