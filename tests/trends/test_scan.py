"""The turning point: rarely where nothing changed, near the truth where something did."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from kseflow.trends import anomalies
from kseflow.trends.causes import began_or_ended, called, parts_of
from kseflow.trends.change import Change
from kseflow.trends.prepared import prepared
from kseflow.trends.sample import Sample
from kseflow.trends.scan import scan
from kseflow.trends.series import number_of
from tests.trends.trend_worlds import World, ago, fill, steady, stepped

FIRST = number_of(ago(89))


def permuted(world: World, seed: int) -> World:
    """Deal the sessions out to the days anew."""
    days = [row["day"] for row in world.days]
    Random(seed).shuffle(days)
    return World([{**row, "day": day} for row, day in zip(world.days, days, strict=True)])


def permuted_with_reasons(world: World, seed: int) -> World:
    """Deal the sessions out anew, each with its reasons."""
    dealt = permuted(world, seed)
    days = {row["session_reference_number"]: row["day"] for row in dealt.days}
    dealt.reasons = [{**row, "day": days[row["session_reference_number"]]} for row in world.reasons]
    return dealt


@pytest.mark.parametrize("batches", [0.0, 0.03])
def test_where_nothing_changed_one_world_in_twenty_is_called_at_most(batches: float) -> None:
    world = fill(World(), steady(0.05), per_week=400, clustering=0.2, batches=batches)
    told = [anomalies(permuted(world, seed).inputs())[0].verdict for seed in range(60)]
    assert told.count("worse") + told.count("better") <= 3


def test_a_doubling_of_a_busy_sender_is_found_in_nearly_every_world() -> None:
    found = []
    for seed in range(8):
        world = fill(World(), stepped(0.03, 0.06, 25), seed=seed, per_week=2000)
        found.append(anomalies(world.inputs())[0])
    assert sum(row.verdict == "worse" for row in found) >= 7


def test_the_order_of_rows_and_the_other_taxpayers_change_nothing() -> None:
    world = fill(World(), stepped(0.03, 0.05, 20), per_week=1000)
    inputs = world.inputs()
    shuffled = list(range(inputs.session_days.num_rows))
    Random(1).shuffle(shuffled)
    other = replace(inputs, session_days=inputs.session_days.take(shuffled))
    assert anomalies(other) == anomalies(inputs)
    alone = [row for row in anomalies(inputs) if row.context_id]
    fill(world, steady(0.02), taxpayer="0000000001", per_week=20, days=3)
    beside = [row for row in anomalies(world.inputs()) if row.context_id == alone[0].context_id]
    assert beside[0].since_day == alone[0].since_day
    assert beside[0].sentence == alone[0].sentence


def test_sizes_that_change_are_no_change_of_the_rate() -> None:
    called = 0
    for seed in range(20):
        world = fill(World(), steady(0.05), seed=seed, per_week=400)
        fill(world, steady(0.05), seed=100 + seed, days=20, per_week=2000, batches=1.0)
        called += anomalies(world.inputs())[0].verdict in ("worse", "better")
    assert called <= 3


def test_too_few_sessions_have_no_turning_point() -> None:
    day = np.arange(FIRST, FIRST + 10)
    sample = Sample(day, np.ones(10), np.full(10, 2.0))
    assert scan(sample, first=FIRST, seed=[1], permutations=99) is None


def test_an_exact_p_value_never_is_zero() -> None:
    world = fill(World(), stepped(0.01, 0.5, 20), per_week=2000)
    assert anomalies(world.inputs())[0].p_value == pytest.approx(0.001)


def test_a_reason_is_not_gone_because_the_latest_rows_are_not_read_yet() -> None:
    world = World()
    for day in range(90):
        for number in range(4):
            reason = "not_read_yet: soon" if day < 20 else f"schema: {number % 2}"
            world.session(ago(day), 10, {reason: 1 if number < 2 else 0})
    assert [row.kind for row in anomalies(world.inputs())] == ["headline", "headline"]


def test_a_reason_is_not_new_because_earlier_rows_are_not_read_yet() -> None:
    world = World()
    for day in range(90):
        for number in range(4):
            reason = "not_read_yet: soon" if day >= 20 else f"schema: {number % 2}"
            world.session(ago(day), 10, {reason: 1})
    assert [row.kind for row in anomalies(world.inputs())] == ["headline", "headline"]


def test_the_same_reasons_read_in_full_are_gone() -> None:
    world = World()
    for day in range(90):
        for number in range(4):
            reason = "system: busy" if day < 20 else f"schema: {number % 2}"
            world.session(ago(day), 10, {reason: 1 if number < 2 else 0})
    kinds = [row.kind for row in anomalies(world.inputs()) if row.context_id is None]
    assert sorted(kinds) == ["headline", "new_reason", "reason_gone", "reason_gone"]


def test_a_reason_of_two_sessions_is_neither_new_nor_gone() -> None:
    world = fill(World(), steady(0.0), per_week=1000)
    for _ in range(2):
        world.session(ago(1), 5, {"file: hash": 5})
    made = prepared(world.inputs())
    whole = made.everything
    assert began_or_ended(whole.series, whole.reasons, made.unread) == []


def test_parts_of_a_change_add_up_to_it() -> None:
    world = fill(World(), stepped(0.03, 0.09, 20))
    made = prepared(world.inputs())
    series, reasons = made.everything.series, made.everything.reasons
    turn = number_of(ago(19))
    change = Change.at(series.between(series.first, turn - 1), series.between(turn, series.last))
    old, new = reasons.where(reasons.day < turn), reasons.where(reasons.day >= turn)
    parts = parts_of(change, (old.reason, new.reason), (old.failed, new.failed))
    assert sum(part.share for part in parts) == pytest.approx(1)
    points = 100 * (change.new.value - change.old.value)
    assert sum(part.points for part in parts) == pytest.approx(points)


def test_reasons_that_come_and_go_by_chance_are_rarely_called_new_or_gone() -> None:
    world, found = World(), 0
    for number in range(1200):
        is_failed = number < 180
        world.session(ago(number % 90), 5, {f"schema: {number % 3}": int(is_failed)})
    for seed in range(300):
        made = prepared(permuted_with_reasons(world, seed).inputs())
        share = made.everything
        found += bool(called(began_or_ended(share.series, share.reasons, made.unread), 0.05))
    assert found <= 15
