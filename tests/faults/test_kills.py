"""Processes that are killed while they load and build leave nothing that the next one lacks."""

from tests.faults.kills import run


def test_killed_loads_and_builds_lose_and_double_nothing() -> None:
    found = run(10, seed=1)
    assert found["killed"] != 0
    assert found["lacking"] == {"sessions": 0, "session_invoices": 0}
