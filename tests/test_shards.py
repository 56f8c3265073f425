"""Loads that share the taxpayers: who loads whom, from which file, and what is united of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksef_emulator import Emulator, VirtualClock, World
from kseflow import load as kseflow_load
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import NIP_WEIGHTS, Context
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.loading.run import load_clients
from kseflow.loading.summary import LoadSummary
from kseflow.logins import configured_credentials
from kseflow.marts.unite import unite
from kseflow.options import Options
from kseflow.shard import Shard, shards_beside
from tests.conftest import TUESDAY, Stage
from tests.copies import Row, rows_of
from tests.faults.sharded import run
from tests.once import once
from tests.simulation import Wire

TABLES = ("sessions", "session_invoices", "failed_invoices", "invoice_reads", "invoice_metadata")
COUNT = 3


def nip(number: int) -> str:
    """Return a valid NIP that begins with nine digits of a number."""
    digits = str(521_000_000 + number)
    checksum = sum(w * int(d) for w, d in zip(NIP_WEIGHTS, digits, strict=True)) % 11
    return digits + str(checksum) if checksum < 10 else nip(number + 100_000)


NIPS = st.integers(0, 99_999).map(nip)


@given(st.sets(NIPS, min_size=1, max_size=30), NIPS, st.integers(1, 60))
def test_each_taxpayer_is_in_one_shard_whoever_the_others_are(
    nips: set[str], another: str, count: int
) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    logins = [TokenCredentials(Context("Nip", name), "token") for name in nips]
    more = [TokenCredentials(Context("Nip", another), "token"), *reversed(logins)]
    for login in logins:
        assert sum(login in shard.own(logins) for shard in shards) == 1
    for shard in shards:
        assert set(map(id, shard.own(logins))) == {id(x) for x in shard.own(more)} - {id(more[0])}


def test_shares_are_the_same_in_every_process_and_release() -> None:
    code = (
        "from kseflow.context import Context; from kseflow.shard import Shard;"
        "print([n for name in ('5265877635', '7438939438', '8351915077') for n in range(1, 9) "
        "if Shard(n, 8).has(Context('Nip', name))])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {"[2, 3, 3]\n"}


def test_many_taxpayers_are_shared_out_evenly() -> None:
    contexts = [Context("Nip", nip(number)) for number in range(4000)]
    sizes = [sum(map(Shard(number, 10).has, contexts)) for number in range(1, 11)]
    assert sum(sizes) == 4000
    assert min(sizes) > 330
    assert max(sizes) < 470


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "-1/8", "3/8/1", "1/61", "٣/٨", "a/b"])
def test_what_is_no_shard_is_named_with_one_that_is(text: str) -> None:
    with pytest.raises(ConfigurationError, match="3/8 is the third of eight"):
        Shard.of(text)


def test_a_shard_may_be_configured_and_reads_its_own_taxpayers_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [nip(number) for number in range(12)]
    monkeypatch.setenv("SOURCES__KSEF__TAXPAYERS", json.dumps([f"t{name}" for name in names]))
    for name in names:
        monkeypatch.setenv(f"SOURCES__KSEF__T{name}__NIP", name)
        monkeypatch.setenv(f"SOURCES__KSEF__T{name}__TOKEN", "token")
    shards = [Shard(number, COUNT) for number in range(1, COUNT + 1)]
    logins = [configured_credentials(shard=shard) for shard in shards]
    assert sorted(login.context.id for mine in logins for login in mine) == sorted(names)
    stranger = next(login.context.id for login in logins[1])
    with pytest.raises(ConfigurationError, match=f"{stranger}: no such .* configured in shard 1/3"):
        configured_credentials([stranger], shards[0])
    # What lacks in another's section is that shard's trouble.
    monkeypatch.delenv(f"SOURCES__KSEF__T{stranger}__TOKEN")
    assert len(configured_credentials(shard=shards[0])) == len(logins[0])
    with pytest.raises(ConfigurationError, match=f"{stranger} has neither token"):
        configured_credentials(shard=shards[1])


class Sharded:
    """A stage that is loaded in shares, by the very function that the command calls."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "ksef.duckdb"
        self.stage = Stage(
            self.database, taxpayers=6, days=2, sessions_per_day=4, largest_session=20
        )
        self.whole = self.database.with_name("ksef-load.duckdb")

    def load(self, shard: str | None = None, database: Path | None = None) -> LoadSummary:
        with self.stage.served() as base_url:
            return kseflow_load(
                database or self.database,
                environment=base_url,
                credentials=self.stage.logins(),
                box=self.stage.box(clock=VirtualClock(self.stage.clock.now())),
                exports_per_hour=0,
                shard=shard,
            )

    def load_shards(self, count: int = COUNT) -> list[LoadSummary]:
        return [self.load(f"{number}/{count}") for number in range(1, count + 1)]

    def file(self, number: int, count: int = COUNT) -> Path:
        return self.database.with_name(f"ksef-{number}-of-{count}-load.duckdb")


@pytest.fixture
def sharded(tmp_path: Path) -> Sharded:
    return Sharded(tmp_path)


def _loaded(folder: Path) -> Path:
    made = Sharded(folder)
    summaries = made.load_shards()
    assert [s.database for s in summaries] == [made.file(n) for n in range(1, COUNT + 1)]
    unite(made.database)
    return folder


@pytest.fixture
def united(tmp_path: Path) -> Sharded:
    """Return one that three shards have loaded, and that was united."""
    shutil.copytree(once("sharded", _loaded), tmp_path, dirs_exist_ok=True)
    return Sharded(tmp_path)


def copied(file: Path) -> dict[str, list[Row]]:
    """Return the raw rows, without the moments at which they were read."""
    return {
        table: rows_of(file, f"select * exclude (read_at) from ksef_raw.{table} order by all")
        for table in TABLES
    }


def test_shards_united_are_what_one_load_brings(united: Sharded) -> None:
    alone = united.database.with_name("alone.duckdb")
    united.load(database=alone)
    assert copied(united.whole) == copied(alone.with_name("alone-load.duckdb"))
    assert len(rows_of(united.whole, "from ksef_raw.session_invoices")) > 50


def test_uniting_again_writes_nothing_until_a_shard_is_loaded(united: Sharded) -> None:
    unite(united.database)  # copied files have other times
    before = united.whole.stat()
    unite(united.database)
    assert united.whole.stat() == before
    united.stage.clock.sleep(3600)
    united.load("1/3")
    unite(united.database)
    runs = "select count(distinct run_id) as runs from ksef_raw.sync_log"
    assert rows_of(united.whole, runs) == [{"runs": COUNT + 1}]


def test_a_shard_goes_on_from_what_was_loaded_without_shards(sharded: Sharded) -> None:
    first = sharded.load()
    asked = [s.request_counts.get("sessionInvoiceList", 0) for s in sharded.load_shards()]
    assert first.request_counts["sessionInvoiceList"] > 20
    assert sum(asked) == 0
    whole = copied(sharded.whole)
    parts = [copied(sharded.file(number))["session_invoices"] for number in range(1, COUNT + 1)]
    assert {str(row) for part in parts for row in part} == set(map(str, whole["session_invoices"]))
    assert sum(map(len, parts)) == len(whole["session_invoices"])
    unite(sharded.database)
    assert copied(sharded.whole) == whole
    # Rows that change later replace those that the load without shards had written.
    sharded.stage.clock.sleep(36 * 3600)
    sharded.load_shards()
    unite(sharded.database)
    later = copied(sharded.whole)
    parts = [copied(sharded.file(number))["sessions"] for number in range(1, COUNT + 1)]
    assert {str(row) for part in parts for row in part} == set(map(str, later["sessions"]))
    names = [row["reference_number"] for row in later["sessions"]]
    assert len(names) == len(set(names)) > len(whole["sessions"])
    assert any(row not in later["sessions"] for row in whole["sessions"])


def test_the_taxpayers_are_shared_out_anew_and_loaded_together_again(united: Sharded) -> None:
    whole = copied(united.whole)
    for again in ("1/2", None):
        with pytest.raises(WarehouseError, match=r"shared out among 3 loads.* ksef-\*-of-3-load"):
            united.load(again)
    for number in range(1, COUNT + 1):
        united.file(number).unlink()
    assert [s.request_counts.get("sessionInvoiceList", 0) for s in united.load_shards(2)] == [0, 0]
    unite(united.database)
    assert copied(united.whole) == whole
    for number in (1, 2):
        united.file(number, 2).unlink()
    # The united file has everybody's cursors: little is listed, and nothing is read again.
    later = united.load()
    assert later.request_counts.get("sessionInvoiceList", 0) == 0
    begins = {log["modified_from"] for log in later.logs if log["resource"] == "sessions_online"}
    assert min(begins) > TUESDAY - timedelta(days=2, hours=1)
    assert copied(united.whole) == whole


def test_two_ways_of_sharing_beside_each_other_are_refused(sharded: Sharded) -> None:
    for name in ("ksef-1-of-2-load.duckdb", "ksef-1-of-3-load.duckdb", "ksef-x-of-9-load.duckdb"):
        sharded.database.with_name(name).touch()
    with pytest.raises(WarehouseError, match=r"ksef-\*-of-2-load.duckdb and ksef-\*-of-3"):
        unite(sharded.database)


def test_a_shard_of_nobody_is_loaded_and_united(sharded: Sharded) -> None:
    empty = next(n for n in range(1, 41) if not Shard(n, 40).own(sharded.stage.logins()))
    summary = sharded.load(f"{empty}/40")
    assert summary.logs == []
    assert not summary.is_in_vain
    unite(sharded.database)
    assert shards_beside(sharded.database) == [Shard(empty, 40)]
    assert copied(sharded.whole)["sessions"] == []


def test_what_a_shard_no_longer_has_is_taken_out_and_others_stay(united: Sharded) -> None:
    others = [row for n in (2, 3) for row in copied(united.file(n))["sessions"]]
    with duckdb.connect(str(united.file(1))) as connection:  # as if an older one were restored
        connection.execute("delete from ksef_raw.sessions")
    unite(united.database)
    assert sorted(map(str, copied(united.whole)["sessions"])) == sorted(map(str, others))


def test_columns_that_one_file_lacks_are_null_or_added(united: Sharded) -> None:
    with duckdb.connect(str(united.file(1))) as connection:  # loaded by an older version
        connection.execute("alter table ksef_raw.sessions drop column valid_until")
    unite(united.database)
    sql = "select valid_until is null as lacks, count(*) as n from ksef_raw.sessions group by all"
    lacking = {row["lacks"]: row["n"] for row in rows_of(united.whole, sql)}
    assert lacking[True] == len(copied(united.file(1))["sessions"])
    assert lacking[False] > 0


class Clocked(Wire):
    """A wire that notes when each request for a login went out."""

    def __init__(self, app: Emulator, clock: VirtualClock, seed: int) -> None:
        super().__init__(app, 0.1, seed)
        self._clock, self.sent_at = clock, list[float]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "/auth/" in request.url.path or "/security/" in request.url.path:
            self.sent_at.append(self._clock.now().timestamp())
        return await super().handle_async_request(request)


def simulated(
    taxpayers: int, count: int, folder: Path
) -> Iterator[tuple[LoadSummary, list[float]]]:
    """Load in shares that all begin at one moment, each on a virtual clock of its own."""
    since = TUESDAY - timedelta(days=1)
    world = World(seed=3, taxpayers=taxpayers, since=since, sessions_per_day=1, largest_session=3)
    for number in range(1, count + 1):
        clock, shard = VirtualClock(TUESDAY), Shard(number, count)
        wire = Clocked(Emulator(world, clock, "production"), clock, number)
        names = [who for who in world.taxpayers if shard.has(Context("Nip", who.context_id))]
        logins = [TokenCredentials(Context("Nip", who.context_id), who.token) for who in names]
        box = TimeBox(SimulatedClock(clock), 3000)
        clients = make_clients(
            "http://127.0.0.1/v2", logins, box, transport=wire, sharer_count=count
        )
        database = shard.file(folder / "ksef-load.duckdb")
        yield load_clients(clients, database, box, Options(exports_per_hour=0)), wire.sent_at


def test_shards_of_one_address_stay_within_what_ksef_allows_it(tmp_path: Path) -> None:
    sent_at: list[float] = []
    for summary, times in simulated(100, 10, tmp_path):
        assert not summary.failed_taxpayers
        sent_at += times
    sent_at.sort()
    busiest = max(sum(t <= u < t + 1 for u in sent_at) for t in sent_at)
    assert len(sent_at) >= 100 * 4
    assert busiest <= 60
    assert busiest > 40  # nor is much of it left unused


def test_killed_shards_and_unions_lose_and_double_nothing() -> None:
    found: dict[str, Any] = run(kills=5, seed=1)
    assert found["killed"] != 0
    assert found["lacking"] == {"sessions": 0, "session_invoices": 0}
