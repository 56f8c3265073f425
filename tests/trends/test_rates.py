"""Intervals and corrections against figures from elsewhere, and what they must never do."""

import numpy as np
import pytest

from kseflow.trends.rates import (
    Measure,
    adjusted,
    clustered_rate,
    design_effect,
    difference,
    effective_count,
    typical_time,
)


def ones(count: int) -> np.ndarray:
    return np.ones(count)


def test_independent_invoices_get_the_interval_of_clopper_and_pearson() -> None:
    failed = np.zeros(1000)
    failed[::20] = 1
    found = clustered_rate(failed, ones(1000))
    assert (found.part_count, found.whole_count, found.session_count) == (50, 1000, 1000)
    # R: binom.test(50, 1000): 0.0373 to 0.0654
    assert (found.low, found.high) == pytest.approx((0.0373, 0.0654), abs=2e-4)


def test_invoices_that_fail_together_count_for_less() -> None:
    together, apart = np.zeros(100), ones(100)
    together[:10] = 10
    single = clustered_rate(apart, 10 * ones(100))
    whole = clustered_rate(together, 10 * ones(100))
    assert single.value == whole.value == 0.1
    assert whole.high - whole.low > 2 * (single.high - single.low)
    assert design_effect(together, 10 * ones(100)) == pytest.approx(10.1, abs=0.1)


def test_one_large_session_is_worth_one_session() -> None:
    sizes = np.append(ones(50), 2000)
    assert effective_count(sizes) == pytest.approx(1.05, abs=0.01)
    found = clustered_rate(np.append(np.zeros(50), 100), sizes)
    small = clustered_rate(np.append(ones(5), np.zeros(95)), 20 * ones(100))
    assert found.high - found.low > 5 * (small.high - small.low)


def test_where_none_failed_the_usual_clustering_counts() -> None:
    bold = clustered_rate(np.zeros(100), 10 * ones(100))
    wary = clustered_rate(np.zeros(100), 10 * ones(100), usual_effect=5)
    assert bold.low == wary.low == 0
    assert wary.high > 4 * bold.high


def test_without_invoices_everything_is_possible() -> None:
    found = clustered_rate(np.zeros(0), np.zeros(0))
    assert np.isnan(found.value)
    assert (found.low, found.high) == (0, 1)


def test_the_interval_of_a_difference_is_squared_and_added() -> None:
    before = Measure(56, 70, 70, 0.8, 0.6996, 0.8767)
    after = Measure(48, 80, 80, 0.6, 0.4904, 0.7020)
    # Newcombe (1998), example a: 56/70 and 48/80 differ by 0.2, 0.0524 to 0.3339 by Wilson's.
    low, high = difference(before, after)
    assert (low, high) == pytest.approx((-0.334, -0.052), abs=0.02)


def test_a_typical_time_is_the_median_between_two_of_the_times() -> None:
    found = typical_time(np.arange(1.0, 11.0))
    # The sign test of ten: the second and the ninth, with 97.9 % confidence.
    assert (found.value, found.low, found.high) == (5.5, 2.0, 9.0)
    assert typical_time(ones(3)).high == np.inf


def test_p_values_are_corrected_for_being_many() -> None:
    # Benjamini and Hochberg (1995), 3.2: of these fifteen, four are called.
    published = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
                 0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    found = adjusted(np.array(published))
    assert (found <= 0.05).sum() == 4
    assert found[0] == pytest.approx(0.0015)
    assert (np.diff(found) >= 0).all()
    assert adjusted(np.array([0.03])) == pytest.approx([0.03])
