"""Limits that a load did not foresee: KSeF changes them, or another program spends of them."""

import asyncio
from dataclasses import dataclass

from kseflow.clock import SimulatedClock, TimeBox
from tests.bench.budget_use import Disturbed, Meanwhile, run, small_sessions
from tests.bench.emulated import AT, LATENCY_S, Emulated
from tests.simulation import asking

GROUP = "sessionInvoiceList"


@dataclass
class Asked:
    """When lists of invoices were answered (seconds), and how many requests of which kind."""

    seconds: list[float]
    refused_count: int
    renewal_count: int


def ask(count: int, per_hour: int, later: int, *, change_at_s: float = 1200.0) -> Asked:
    """Ask so many times for a session's invoices, while its limit an hour becomes another."""
    first = {"perSecond": 10, "perMinute": 20, "perHour": per_hour}
    ksef = Emulated(small_sessions(1), AT, {GROUP: first}, LATENCY_S)
    (who,) = ksef.world.taxpayers
    (session,) = ksef.world.sessions(who.context_id, AT)

    async def change() -> None:
        await asyncio.sleep(change_at_s)
        limits = ksef.app.limits.effective(who.context_id) | {GROUP: {**first, "perHour": later}}
        ksef.app.limits.override(who.context_id, limits)

    ksef.wire = Disturbed(ksef.wire, change)
    (client,) = ksef.clients(TimeBox(SimulatedClock(ksef.clock)))
    with asking(client) as asked:
        asked.rate_limits()
        for _ in range(count):
            list(asked.session_invoices(session["referenceNumber"]))
    lists = [request for request in ksef.app.requests if request.group == GROUP]
    return Asked(
        [(request.at - AT).total_seconds() for request in lists if request.status == 200],
        sum(request.status == 429 for request in lists),
        sum(request.path.endswith("/rate-limits") for request in ksef.app.requests) - 1,
    )


def test_a_higher_limit_is_used_within_minutes() -> None:
    asked = ask(60, per_hour=30, later=60)
    assert asked.seconds[29] < 70.0
    assert 1200.0 < asked.seconds[30] < 1200.0 + 300.0 + 5.0
    assert asked.seconds[59] < 1200.0 + 300.0 + 130.0
    assert asked.refused_count == 0
    assert 1 <= asked.renewal_count <= 5


def test_a_lower_limit_costs_one_refusal_and_not_one_for_each_request() -> None:
    asked = ask(75, per_hour=30, later=15)
    assert asked.refused_count <= 1
    assert asked.seconds[74] < 4.1 * 3600.0


def test_another_program_that_spends_a_third_locks_nobody_out() -> None:
    ksef = Emulated(small_sessions(1), AT, "production", LATENCY_S)
    (who,) = ksef.world.taxpayers
    (session,) = ksef.world.sessions(who.context_id, AT)
    meanwhile = Meanwhile(ksef, (), others_share=1 / 3)
    ksef.wire = Disturbed(ksef.wire, meanwhile.go_on)
    (client,) = ksef.clients(TimeBox(SimulatedClock(ksef.clock), 2 * 3600.0))
    with asking(client) as asked:
        for _ in range(100):
            list(asked.session_invoices(session["referenceNumber"]))
    took_s = (ksef.clock.now() - AT).total_seconds()
    assert took_s < 1.5 * 3600.0
    assert len(meanwhile.spent[GROUP]) >= 5


def test_beside_another_program_hardly_anything_is_refused_or_left_unused() -> None:
    use = run(small_sessions(2_500), 3.0, others_share=1 / 3)
    assert use.refused_count <= 10
    assert use.used_count(GROUP) >= 0.95 * use.possible_count(GROUP)
    assert len(use.others[GROUP]) >= 20


def test_limits_that_stay_are_not_asked_for_when_no_wait_is_long() -> None:
    assert ask(30, per_hour=60, later=60).renewal_count == 0
