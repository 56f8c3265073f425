"""Worlds whose truth is known, and the very sentences that are told of them."""

import json
from datetime import date, timedelta
from random import Random

import pytest

from kseflow.trends import Anomaly, anomalies
from tests.trends.trend_worlds import TODAY, World, ago, fill, steady, stepped

NIP = "7438939438"


def told(world: World, **names: str) -> list[Anomaly]:
    """Return what is told of all taxpayers together."""
    called = {("Nip", number.removeprefix("nip")): name for number, name in names.items()}
    return [row for row in anomalies(world.inputs(), called) if row.context_id is None]


def days_beside(row: Anomaly, truth: date) -> int:
    assert row.since_day is not None
    return abs((row.since_day - truth).days)


def test_flat_is_about_the_same() -> None:
    (headline,) = told(fill(World(), steady(0.03)))
    assert headline.verdict == "unchanged"
    assert headline.since_day is None
    assert headline.sentence == (
        "About the same as before (2.8 %, 95 % 2.2 to 3.6; before 3.0 %, 2.8 to 3.2): 84 of 3,001"
        " invoices failed in the last 7 days, 1,060 of 35,532 in the 83 days before."
    )


def test_doubled_lately_is_worse_since_that_day() -> None:
    headline, moved = told(fill(World(), stepped(0.03, 0.06, 7)))
    assert (headline.verdict, moved.kind, moved.verdict) == ("worse", "rate_up", "worse")
    assert days_beside(headline, ago(6)) <= 1
    assert headline.sentence == (
        "It has got worse since about 16 Nov 2026 (5.8 %, 95 % 4.8 to 6.8; before 3.0 %, 2.8 to "
        "3.2): 178 of 3,095 invoices failed since, 1,060 of 35,532 in the 83 days before. Because"
        " of schema “P_1 is missing” (+1.4 points) and business rule “NIP is wrong” (+1.3 "
        "points)."
    )
    assert moved.sentence == (
        "The failure rate went up since about 16 Nov 2026 (5.8 %, 95 % 4.8 to 6.8; before 3.0 %, "
        "2.8 to 3.2). Because of schema “P_1 is missing” (+1.4 points) and business rule “NIP is "
        "wrong” (+1.3 points)."
    )


def test_doubled_25_days_ago_is_worse_since_then() -> None:
    headline, _ = told(fill(World(), stepped(0.03, 0.06, 25)))
    assert headline.verdict == "worse"
    assert days_beside(headline, ago(24)) <= 2
    assert not headline.is_drift
    assert headline.sentence == (
        "It has got worse since about 30 Oct 2026 (5.7 %, 95 % 5.1 to 6.3; before 3.1 %, 2.8 to "
        "3.3): 580 of 10,239 invoices failed since, 884 of 28,925 in the 66 days before. Because "
        "of business rule “NIP is wrong” (+1.4 points) and schema “P_1 is missing” (+1.2 points)."
    )


def test_a_slow_rise_is_told_as_slow_since_about_its_beginning() -> None:
    world = fill(World(), lambda days_ago: 0.02 + 0.06 * max(0, 60 - days_ago) / 60)
    headline, moved = told(world)
    assert (headline.verdict, headline.is_drift) == ("worse", True)
    assert days_beside(headline, ago(60)) <= 20
    assert headline.sentence == (
        "It is slowly getting worse, since about 8 Sep 2026 (7.4 %, 95 % 6.6 to 8.3; before 2.4 "
        "%, 1.9 to 2.9): 478 of 6,445 invoices failed in the last 14 days, 138 of 5,841 from 25 "
        "Aug to 7 Sep 2026. Because of business rule “NIP is wrong” (+3.0 points) and schema “P_1"
        " is missing” (+2.0 points)."
    )
    assert moved.sentence == (
        "The failure rate went up slowly, since about 8 Sep 2026 (7.4 %, 95 % 6.6 to 8.3; before "
        "2.4 %, 1.9 to 2.9). Because of business rule “NIP is wrong” (+3.0 points) and schema "
        "“P_1 is missing” (+2.0 points)."
    )


def test_one_bad_batch_is_named_and_is_no_trend() -> None:
    world = fill(World(), steady(0.03))
    batch = world.session(ago(3), 500, {"schema: P_1 is missing": 400}, kind="Batch")
    headline, alone = told(world)
    assert (headline.verdict, headline.left_out_session_count) == ("unchanged", 1)
    assert batch in headline.sentence
    assert headline.sentence == (
        "One session stands alone: in 20261119-SB-00000018F5 of 19 Nov 2026, 400 of 500 invoices "
        "failed. Without it: about the same as before (2.8 %, 95 % 2.2 to 3.6; before 3.0 %, 2.8 "
        "to 3.2): 84 of 3,001 invoices failed in the last 7 days, 1,060 of 35,532 in the 83 days "
        "before."
    )
    assert (alone.kind, alone.after_failed_count, alone.after_decided_count) == (
        "one_session",
        400,
        500,
    )
    assert [s["session_reference_number"] for s in json.loads(alone.sessions)] == [batch]
    assert alone.sentence == (
        "One session stands alone: in 20261119-SB-00000018F5 of 19 Nov 2026, 400 of 500 invoices "
        "failed. All others: 3.0 %, 95 % 2.8 to 3.2 (1,144 of 38,533)."
    )


def test_a_weekend_effect_in_four_days_is_no_change() -> None:
    world = fill(World(), lambda n: 0.2 if ago(n).weekday() >= 5 else 0.03, days=4)
    (headline,) = told(world)
    assert headline.verdict == "cannot_tell"
    assert headline.sentence == (
        "Cannot tell (5.6 %, 95 % 4.1 to 7.3): 73 of 1,310 invoices failed in the 4 days, and "
        "there are none before to compare with."
    )


def test_a_weekend_effect_in_nine_days_is_no_change_either() -> None:
    world = fill(World(), lambda n: 0.2 if ago(n).weekday() >= 5 else 0.03, days=9)
    (headline,) = told(world)
    assert headline.verdict == "cannot_tell"
    assert headline.sentence == (
        "Cannot tell (3.9 %, 95 % 2.8 to 5.3; before 17.9 %, 11.4 to 26.2): 114 of 2,922 invoices"
        " failed in the last 7 days, 31 of 173 in the 2 days before; 9 days are too few, as "
        "weekdays differ."
    )


def test_a_vanished_and_a_new_reason_are_told_while_the_rate_stays() -> None:
    mixes = ({"schema: P_1": 1.0, "system: busy": 1.0}, {"file: hash": 1.0, "system: busy": 1.0})
    world = fill(World(), steady(0.03), mix=lambda days_ago: mixes[days_ago < 15])
    headline, *others = told(world)
    assert headline.verdict == "unchanged"
    assert {(row.kind, row.category, row.normalised_message) for row in others} == {
        ("reason_gone", "schema", "P_1"),
        ("new_reason", "file", "hash"),
    }
    gone, new = sorted(others, key=lambda row: row.kind, reverse=True)
    assert gone.sentence == (
        "Reason gone since 7 Nov 2026: schema “P_1”, before in 519 invoices of 371 sessions (1.6 "
        "%, 95 % 1.4 to 1.8)."
    )
    assert new.sentence == (
        "New reason since 8 Nov 2026: file “hash”, in 85 invoices of 68 sessions (1.4 %, 95 % 1.1"
        " to 1.8); never in the 75 days before."
    )
    assert all(days_beside(row, ago(14)) <= 2 for row in others)


def test_of_five_invoices_nobody_can_tell() -> None:
    world = World()
    for day, failed in ((12, 0), (9, 1), (5, 0), (2, 1), (1, 0)):
        world.session(ago(day), 1, {"schema: P_1 is missing": failed})
    (headline,) = told(world)
    assert headline.verdict == "cannot_tell"
    assert headline.sentence == (
        "Cannot tell (33 %, 95 % 0 to 100; before 50 %, 0 to 100): 1 of 3 invoices failed in the "
        "last 7 days, 1 of 2 in the 6 days before; 13 days are too few, as weekdays differ."
    )


def test_while_only_failures_are_read_the_rate_is_that_of_the_counters() -> None:
    world = fill(World(), steady(0.04))
    for row in world.days:
        row["from_counters_count"] = int(str(row["accepted_count"])) + int(str(row["failed_count"]))
    (headline,) = told(world)
    assert headline.verdict == "unchanged"
    assert headline.from_counters_share == 1.0
    assert headline.sentence == (
        "About the same as before (4.3 %, 95 % 3.5 to 5.2; before 4.0 %, 3.8 to 4.3): 137 of "
        "3,200 invoices failed in the last 7 days, 1,425 of 35,253 in the 83 days before. 100 % "
        "of these invoices are known from KSeF's counters alone."
    )


def test_whole_refused_sessions_make_it_worse() -> None:
    world = fill(World(), steady(0.03))
    for day in range(9):
        for _ in range(2):
            refused = {"session_failed: Błąd weryfikacji pliku": 300}
            world.session(ago(day), 300, refused, kind="Batch", counters=300)
    headline, moved, reason = told(world)
    assert [row.verdict for row in (headline, moved, reason)] == ["worse"] * 3
    assert days_beside(reason, ago(8)) == 0
    assert days_beside(headline, ago(8)) <= 2
    assert [r["category"] for r in json.loads(headline.reasons)] == ["session_failed"]
    assert headline.sentence == (
        "It has got worse since about 14 Nov 2026 (64 %, 95 % 52 to 75; before 3.0 %, 2.8 to "
        "3.2): 5,486 of 8,512 invoices failed since, 1,058 of 35,421 in the 81 days before. "
        "Because of session failed “Błąd weryfikacji pliku” (+63.4 points). 12 % of these "
        "invoices are known from KSeF's counters alone."
    )
    assert reason.sentence == (
        "New reason since 14 Nov 2026: session failed “Błąd weryfikacji pliku”, in 5,400 invoices"
        " of 18 sessions (63 %, 95 % 51 to 75); never in the 81 days before."
    )


def test_better_is_told_as_better() -> None:
    headline, moved = told(fill(World(), stepped(0.06, 0.03, 20)))
    assert (headline.verdict, moved.kind) == ("better", "rate_down")
    assert days_beside(headline, ago(19)) <= 2
    assert headline.sentence == (
        "It has got better since about 3 Nov 2026 (2.7 %, 95 % 2.3 to 3.2; before 5.9 %, 5.6 to "
        "6.2): 233 of 8,526 invoices failed since, 1,860 of 31,486 in the 70 days before. Because"
        " of business rule “NIP is wrong” (-2.1 points) and schema “P_1 is missing” (-1.1 "
        "points)."
    )


def test_a_taxpayer_apart_from_its_own_past_is_named_and_the_others_are_not() -> None:
    world = World()
    for number in range(5):
        rate = stepped(0.03, 0.12, 20) if number == 2 else steady(0.03)
        fill(world, rate, taxpayer=f"100000000{number}", seed=number, per_week=1500)
    rows = anomalies(world.inputs(), {("Nip", "1000000002"): "Meat Ltd"})
    assert {row.context_id for row in rows if row.verdict == "worse"} == {None, "1000000002"}
    (apart,) = [row for row in rows if row.kind == "taxpayer_apart"]
    assert days_beside(apart, ago(19)) <= 1
    assert apart.sentence == (
        "Meat Ltd (NIP 1000000002) has got worse since about 3 Nov 2026, apart from its own past "
        "(12.2 %, 95 % 11.0 to 13.4; before 3.0 %, 2.7 to 3.4); all other taxpayers: 2.8 % since."
    )
    named = json.loads(rows[0].taxpayers)
    assert [(t["context_id"], t["name"]) for t in named] == [("1000000002", "Meat Ltd")]
    assert rows[0].sentence == (
        "It has got worse since about 4 Nov 2026 (4.7 %, 95 % 4.4 to 5.1; before 3.2 %, 3.0 to "
        "3.3): 952 of 20,092 invoices failed since, 2,462 of 77,509 in the 71 days before. "
        "Because of business rule “NIP is wrong” (+0.9 points) and schema “P_1 is missing” (+0.6 "
        "points), most of it at Meat Ltd (NIP 1000000002) (+1.9 points)."
    )


def test_among_sixty_taxpayers_the_one_that_changed_is_found_and_no_other() -> None:
    world = World()
    for number in range(60):
        rate = stepped(0.03, 0.2, 20) if number == 7 else steady(0.03)
        fill(world, rate, taxpayer=f"10000000{number:02}", seed=number, per_week=150)
    rows = [row for row in anomalies(world.inputs()) if row.context_id]
    assert [row.context_id for row in rows if row.kind == "taxpayer_apart"] == ["1000000007"]
    assert {row.context_id for row in rows if row.verdict == "worse"} == {"1000000007"}


def test_when_all_taxpayers_change_alike_none_is_apart() -> None:
    world = World()
    for number in range(3):
        rate = stepped(0.03, 0.12, 20)
        fill(world, rate, taxpayer=f"100000000{number}", seed=number, per_week=1000)
    rows = anomalies(world.inputs())
    assert [row.verdict for row in rows if row.kind == "headline"] == ["worse"] * 4
    assert "taxpayer_apart" not in {row.kind for row in rows}


def test_one_bad_day_is_named_and_is_no_trend() -> None:
    world = fill(World(), steady(0.03))
    for _ in range(60):
        world.session(ago(9), 10, {"schema: P_1 is missing": 6})
    headline, alone = told(world)
    assert (headline.verdict, alone.kind, alone.since_day) == ("unchanged", "one_day", ago(9))
    assert headline.sentence == (
        "One day stands alone: on 13 Nov 2026, 368 of 1,030 invoices failed. Without it: about "
        "the same as before (2.8 %, 95 % 2.2 to 3.6; before 3.0 %, 2.8 to 3.2): 84 of 3,001 "
        "invoices failed in the last 7 days, 1,052 of 35,102 in the 83 days before."
    )


@pytest.mark.parametrize(("day", "verdict"), [(0, "cannot_tell"), (2, "unchanged")])
def test_of_a_bad_day_that_few_have_followed_nobody_can_tell_whether_it_lasts(
    day: int, verdict: str
) -> None:
    world = fill(World(), steady(0.03))
    for _ in range(40):
        world.session(ago(day), 10, {"schema: P_1 is missing": 9})
    headline, *_ = told(world)
    assert headline.verdict == verdict
    assert headline.sentence.endswith("Whether that day lasts, nobody can tell yet.") == (day == 0)


def test_two_bad_days_at_the_end_are_worse() -> None:
    world = fill(World(), steady(0.03))
    for day in (0, 1):
        for _ in range(10):
            world.session(ago(day), 20, {"session_failed: broken": 20})
    headline, *_ = told(world)
    assert (headline.verdict, headline.since_day) == ("worse", ago(1))


def test_what_came_and_has_gone_is_no_trend() -> None:
    headline, moved = told(fill(World(), lambda n: 0.15 if 20 <= n < 30 else 0.03))
    assert headline.verdict == "unchanged"
    assert (moved.kind, moved.since_day, moved.until_day) == ("rate_up", ago(29), ago(20))
    assert headline.sentence == (
        "It was worse from 24 Oct to 2 Nov 2026 (14.9 %, 95 % 13.5 to 16.5; 569 of 3,809 invoices"
        " failed), which has passed. Apart from that: about the same as before (2.5 %, 95 % 1.9 "
        "to 3.2; before 3.0 %, 2.8 to 3.2): 78 of 3,134 invoices failed in the last 7 days, 942 "
        "of 31,643 in the 83 days before."
    )
    assert moved.sentence == (
        "The failure rate went up from 24 Oct to 2 Nov 2026 only (14.9 %, 95 % 13.5 to 16.5; "
        "before 3.0 %, 2.7 to 3.2). Because of business rule “NIP is wrong” (+7.7 points) and "
        "schema “P_1 is missing” (+4.3 points)."
    )


def test_where_nobody_can_tell_both_intervals_are_told() -> None:
    (headline,) = told(fill(World(), stepped(0.05, 0.03, 7), per_week=400))
    assert headline.verdict == "cannot_tell"
    assert headline.sentence == (
        "Cannot tell (3.2 %, 95 % 1.4 to 6.3; before 5.7 %, 4.8 to 6.7): 13 of 404 invoices "
        "failed in the last 7 days, 284 of 4,962 in the 83 days before."
    )


def test_where_nothing_was_sent_nothing_was_decided() -> None:
    world = World()
    (headline,) = anomalies(world.inputs())
    assert (headline.verdict, headline.context_id) == ("nothing_decided", None)
    assert headline.sentence == (
        "Nothing decided: no invoice was accepted or failed in the last 90 days."
    )


def test_a_taxpayer_without_decided_invoices_has_a_headline_too() -> None:
    world = fill(World(), steady(0.03), days=30)
    world.session(ago(100), 5, {}, taxpayer="1000000002")
    (quiet,) = [row for row in anomalies(world.inputs()) if row.context_id == "1000000002"]
    assert (quiet.kind, quiet.verdict) == ("headline", "nothing_decided")


@pytest.mark.parametrize("days", [1, 10])
def test_days_after_the_copy_and_before_the_window_are_not_looked_at(days: int) -> None:
    world = fill(World(), steady(0.03), days=60)
    expected = told(world)
    for _ in range(50):
        world.session(TODAY + timedelta(days=days), 10, {"schema: P_1 is missing": 10})
        world.session(ago(89 + days), 10, {"schema: P_1 is missing": 10})
    assert told(world) == expected


def test_slower_acceptance_of_online_sessions_is_told() -> None:
    world, random = fill(World(), steady(0.03)), Random(3)
    for day in range(90):
        for _ in range(20):
            world.acceptance(ago(day), random.lognormvariate(4.5 if day < 12 else 2.5, 1))
    headline, slower = told(world)
    assert (headline.verdict, slower.kind, slower.verdict) == (
        "unchanged",
        "slower_acceptance",
        "worse",
    )
    assert slower.since_day == ago(11)
    assert slower.after_failed_count is None
    assert slower.sentence == (
        "KSeF accepts more slowly since about 11 Nov 2026: half of the online sessions within 97 "
        "s (95 % 78 s to 114 s), before within 12 s (11 s to 13 s)."
    )


def test_one_slow_day_is_not_slower_acceptance() -> None:
    world, random = fill(World(), steady(0.03)), Random(3)
    for day in range(90):
        for _ in range(20):
            world.acceptance(ago(day), random.lognormvariate(6.5 if day == 4 else 2.5, 1))
    assert [row.kind for row in told(world)] == ["headline"]


def test_a_weekday_that_fails_more_is_told_of_four_weeks_and_never_of_fewer() -> None:
    def mondays(days_ago: int) -> float:
        return 0.12 if ago(days_ago).weekday() == 0 else 0.03

    headline, weekday = told(fill(World(), mondays, days=28))
    assert (headline.verdict, weekday.kind) == ("unchanged", "weekday")
    assert weekday.sentence == (
        "Invoices of Mondays fail more often (11.2 %, 95 % 9.8 to 12.6; other days 3.0 %, 2.5 to "
        "3.4): 245 of 2,197 failed, 288 of 9,761 on other days."
    )
    assert [row.kind for row in told(fill(World(), mondays, days=27))] == ["headline"]
