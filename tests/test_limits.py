"""The sliding windows, for any history of requests."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ksef_emulator import VirtualClock
from kseflow.api.limits import WINDOWS_S, Sent, SlidingWindows

TUESDAY = datetime(2026, 11, 17, 13, tzinfo=UTC)
LIMITS = {"sessionList": (5, 10, 60), "other": (10, 30, 120)}


@given(st.lists(st.floats(0, 400), min_size=1, max_size=150))
def test_no_window_ever_holds_more_than_its_limit(pauses: list[float]) -> None:
    clock = VirtualClock(TUESDAY)
    windows = SlidingWindows(clock.now)
    windows.limits = LIMITS
    sent = []
    for pause in pauses:
        clock.sleep(pause)
        clock.sleep(windows.delay_s("sessionList"))
        windows.spend("sessionList")
        sent.append(clock.now())
    for moment in sent:
        for window_s, limit in zip(WINDOWS_S, LIMITS["sessionList"], strict=True):
            begin = moment - timedelta(seconds=window_s)
            assert sum(begin < other <= moment for other in sent) <= limit


def test_waiting_is_not_longer_than_needed() -> None:
    clock = VirtualClock(TUESDAY)
    windows = SlidingWindows(clock.now)
    windows.limits = LIMITS
    for _ in range(60):
        clock.sleep(windows.delay_s("sessionList"))
        windows.spend("sessionList")
    assert clock.now() - TUESDAY < timedelta(minutes=5, seconds=10)
    assert windows.remaining_count("sessionList") == 0
    assert 3290 < windows.delay_s("sessionList") < 3310


def asked_until(windows: SlidingWindows, clock: VirtualClock, count: int) -> None:
    for _ in range(count):
        clock.sleep(windows.delay_s("sessionList"))
        windows.spend("sessionList")


def test_what_others_seem_to_spend_is_left_to_them_until_the_limits_change() -> None:
    clock = VirtualClock(TUESDAY)
    windows = SlidingWindows(clock.now)
    windows.change_limits(LIMITS | {"global": (-1, -1, -1)})
    asked_until(windows, clock, 41)
    windows.refuse("sessionList")  # the last one: KSeF has taken 20 of somebody else
    assert windows.leave_to_others("sessionList", wait_s=1800.0)
    assert windows.remaining_count("sessionList") == 0
    assert windows.hourly_limit("sessionList") == 60
    windows.change_limits(LIMITS | {"global": (-1, -1, -1), "sessionList": (5, 10, 80)})
    assert windows.remaining_count("sessionList") == 39


def test_a_refusal_at_the_begin_tells_nothing_of_others() -> None:
    clock = VirtualClock(TUESDAY)
    windows = SlidingWindows(clock.now)
    windows.change_limits(LIMITS | {"global": (-1, -1, -1)})
    asked_until(windows, clock, 3)
    windows.refuse("sessionList")
    assert not windows.leave_to_others("sessionList", wait_s=1800.0)
    assert windows.remaining_count("sessionList") == 57


def test_a_limit_of_minus_one_is_none_and_of_zero_is_all() -> None:
    clock = VirtualClock(TUESDAY)
    windows = SlidingWindows(clock.now)
    windows.limits = {"sessionList": (-1, -1, -1), "other": (0, 0, 0)}
    for _ in range(5000):
        windows.spend("sessionList")
    assert windows.delay_s("sessionList") == 0
    assert windows.remaining_count("sessionList") is None
    assert windows.delay_s("other") > 0


def test_the_windows_of_an_earlier_run_are_taken_over() -> None:
    clock = VirtualClock(TUESDAY)
    earlier, later = SlidingWindows(clock.now), SlidingWindows(clock.now)
    for _ in range(10):
        earlier.spend("sessionList")
    later.restore("sessionList", earlier.request_times("sessionList"))
    assert later.remaining_count("sessionList") == 50
    assert later.delay_s("sessionList") > 59


def test_login_requests_count_for_all_taxpayers_together() -> None:
    clock = VirtualClock(TUESDAY)
    shared = {"anonymous": Sent()}
    one, other = SlidingWindows(clock.now, shared), SlidingWindows(clock.now, shared)
    for _ in range(60):
        one.spend("anonymous")
    assert other.delay_s("anonymous") > 0
    assert other.delay_s("sessionList") == 0
