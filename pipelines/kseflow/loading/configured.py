"""One load as it is configured: who logs in, where and with which options; `kseflow.load`."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from kseflow.api.credentials import Credentials
from kseflow.clock import SystemClock, TimeBox
from kseflow.constants import LOCK_WAIT_S, MAX_TIME_S
from kseflow.database import load_file
from kseflow.loading import run
from kseflow.loading.extraction import Extraction
from kseflow.loading.source import make_clients
from kseflow.loading.summary import LoadSummary
from kseflow.logins import configured_credentials, configured_environment, configured_options
from kseflow.options import with_options


@with_options
def load(
    database: Path = Path("ksef.duckdb"),
    *,
    environment: str | None = None,
    credentials: Sequence[Credentials] | None = None,
    nips: Collection[str] = (),
    only: Sequence[str] = (),
    max_time_s: float | None = MAX_TIME_S,
    lock_wait_s: float = LOCK_WAIT_S,
    box: TimeBox | None = None,
    watch: Callable[[Extraction], None] | None = None,
    **options: Any,
) -> LoadSummary:
    """Load what changed since the last load, and what the database still lacks.

    `database` is the analysts' file, as for `kseflow.build`; the load writes its own beside it.
    `environment` (`production`, `demo`, `test` or a base URL), `credentials` and those of
    `Options` are the configured ones unless given; `nips` restricts to these identifiers, and
    `only` to these raw tables. `max_time_s` ends it in good time before the next one, and
    `box.stop()`, of a box given in its place, from another thread or a signal handler.
    A taxpayer that fails is in `failed_taxpayers` of what is returned, and the others are loaded.
    Raises `ConfigurationError` before anything is sent, and `WarehouseError` when the database
    cannot be used.
    """
    asked = configured_options(**options)
    if credentials is None:
        credentials = configured_credentials(nips)
    box = box or TimeBox(SystemClock(), max_time_s)
    clients = make_clients(
        environment or configured_environment(),
        credentials,
        box,
        requests_in_flight=asked.requests_in_flight,
    )
    file = load_file(database)
    return run.load(clients, file, box, asked, only=only, lock_wait_s=lock_wait_s, watch=watch)
