"""What the benchmarks count is the same on any machine and may not grow; times are not judged."""

import time
from collections import Counter
from dataclasses import dataclass
from io import StringIO

import pytest
from rich.console import Console

from ksef_emulator.api.limits import PRODUCTION
from tests.bench.budget_use import most, run, small_sessions, times
from tests.bench.emulated import Emulated
from tests.bench.figures import Bound, Figure, table
from tests.bench.growth import exponent, n_log_n, steepest
from tests.bench.measured import measured, used
from tests.bench.requests_by_group import LOGIN_COUNT, QUICK, Shape, floor, without_login

# Megabytes written by a load that makes the tables, by one that changes rows, and by one of nothing
# new: dlt's own tables and files, however little there is to store,
FIXED_MB = (12.0, 6.0, 4.0)
# and for each byte that KSeF sent: Arrow, parquet, the staging table, the table, DuckDB's log.
FOR_A_RECEIVED = 6.0


@dataclass(frozen=True)
class Load:
    """One load: requests by group, answers 429, megabytes received and written."""

    asked: Counter[str]
    refused_count: int
    received_mb: float
    written_mb: float


@dataclass(frozen=True)
class Told:
    """The three loads of a shape, under production's limits."""

    shape: Shape
    loads: list[Load]


@pytest.fixture(scope="module", params=QUICK, ids=lambda shape: shape.name)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    shape: Shape = request.param
    ksef = Emulated(shape.world(), shape.moments[0], "production")
    database = tmp_path_factory.mktemp("bench") / "ksef-load.duckdb"
    loads = []
    for moment in shape.moments:
        ksef.move_to(moment)
        before_mb, before_sent_mb = used()[2], ksef.app.sent_mb
        ksef.load(database)
        received_mb = ksef.app.sent_mb - before_sent_mb
        written_mb = used()[2] - before_mb
        loads.append(Load(ksef.asked(), ksef.refused_count(), received_mb, written_mb))
    return Told(shape, loads)


def test_loads_ask_what_the_floor_says_and_no_more(told: Told) -> None:
    asked = [dict(without_login(load.asked)) for load in told.loads]
    assert asked == [dict(count) for count in floor(told.shape)]


def test_a_login_takes_as_many_requests_as_it_must(told: Told) -> None:
    assert [load.asked["login"] for load in told.loads] == [LOGIN_COUNT] * 3


def test_no_request_is_refused(told: Told) -> None:
    assert [load.refused_count for load in told.loads] == [0, 0, 0]


def test_what_is_written_goes_by_what_came(told: Told) -> None:
    for load, fixed_mb in zip(told.loads, FIXED_MB, strict=True):
        assert load.written_mb < fixed_mb + FOR_A_RECEIVED * load.received_mb


def test_a_backlog_is_asked_for_as_fast_as_the_windows_let_it() -> None:
    use = run(small_sessions(1_000), 0.5)
    assert use.refused_count == 0
    for group in ("sessionInvoiceList", "sessionMisc"):
        behind_count = use.possible_count(group) - use.used_count(group)
        assert 0 <= behind_count <= PRODUCTION[group]["perMinute"], group


def test_the_most_possible_keeps_all_three_windows() -> None:
    limits = [(0.0, PRODUCTION)]
    hour = most(limits, "sessionInvoiceList", 0.0, 3599.9)
    assert len(hour) == 200
    assert hour[19] == 1.0
    assert hour[20] == 60.0
    assert len(most(limits, "sessionInvoiceList", 0.0, 3600.0)) == 210


def test_the_most_possible_follows_limits_that_change() -> None:
    limits = [(0.0, PRODUCTION), (1800.0, times(2.0)), (5400.0, times(0.5))]
    assert len(most(limits, "sessionInvoiceList", 0.0, 1799.9)) == 200
    assert len(most(limits, "sessionInvoiceList", 0.0, 3599.9)) == 400
    made = most(limits, "sessionInvoiceList", 0.0, 10_000.0)
    assert all(len([t for t in made if m - 3600 < t <= m]) <= 400 for m in made)
    assert [m for m in made if 5400.0 <= m < 7000.0] == []


def test_an_exponent_is_the_slope_on_logs() -> None:
    assert exponent({n: 3.0 * n**2 for n in (10, 100, 1000)}) == pytest.approx(2.0)
    # A fixed part hides what the steepest step shows.
    costs = {n: 10.0 + 0.001 * n**2 for n in (10, 100, 1000)}
    assert exponent(costs) < 1.1 < steepest(costs)
    assert n_log_n({10_000: 1.0, 1_000_000: 1.0}) == pytest.approx(1.088, abs=0.001)


def test_a_figure_beside_its_baselines_tells_what_slips() -> None:
    kept = Figure("a", 10, "s", {"b": 5.0}, (Bound("b", most=2),))
    missed = Figure("a", 10, "s", {"b": 4.0}, (Bound("b", most=2), Bound("b", least=1)))
    assert kept.slips == []
    assert missed.slips == [Bound("b", most=2)]
    assert missed.as_json()["baselines"] == {"b": {"value": 4.0, "ratio": 2.5}}
    # Anything is more than nothing.
    assert Figure("429", 1, "", {"b": 0}, (Bound("b", most=2),)).slips
    assert not Figure("429", 0, "", {"b": 0}, (Bound("b", most=2),)).slips


def test_the_table_fits_a_hundred_columns_and_names_every_baseline() -> None:
    figure = Figure("what was measured", 12_345.6, "requests", {"a floor": 12_000.0, "others": 3})
    shown = StringIO()
    Console(file=shown, width=100).print(table({"1. Requests": [figure]}))
    text = shown.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "12,346 requests" in text
    assert "a floor: 12,000 (1.03 x)" in text
    assert "others: 3" in text


def busy() -> int:
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    return len(bytearray(150_000_000))


def test_work_is_measured_in_a_process_of_its_own() -> None:
    cost = measured(busy)
    assert cost.answer == 150_000_000
    assert cost.cpu_s >= 0.2
    assert cost.peak_mb > 150
