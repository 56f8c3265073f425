"""Ask KSeF's host for what needs no login."""

import httpx

from kseflow.api.answers import FIREWALL, Answer, Bound, is_firewalls, read
from kseflow.api.gateway import Gateway
from kseflow.api.limits import backoff_s
from kseflow.clock import Clock, TimeBox
from kseflow.constants import TRIES
from kseflow.errors import Unavailable


def asked(base_url: str, url: str, clock: Clock, *, bound: Bound, patience_s: float) -> Answer:
    """Return the whole answer to GET `url`, which has `patience_s` to come.

    A page of the firewall passes: asked again, and raises `Unavailable` when it stays. Raises
    `ConfigurationError` for a proxy that is none, `httpx.RequestError` or `TimeoutError` when no
    answer came, and `ContractViolation` when it is larger than `bound`.
    """
    box = TimeBox(clock)

    async def ask() -> Answer:
        gateway = Gateway(base_url, box)
        try:
            for attempt in range(1, TRIES + 1):
                async with box.within(patience_s):
                    answer = await read(await gateway.send(httpx.Request("GET", url)), bound)
                if not is_firewalls(answer.status, answer.headers):
                    return answer
                if attempt < TRIES:
                    await box.sleep(backoff_s(attempt))
        finally:
            await gateway.aclose()
        raise Unavailable(f"{answer.request}: {FIREWALL}, after {TRIES} tries")

    with box.loop() as loop:
        return loop.run(ask())
