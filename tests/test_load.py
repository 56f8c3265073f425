"""One load: what it does about trouble, other loads, other programs, and being stopped."""

import json
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import duckdb
import httpx
import pytest

from ksef_emulator import Fault, VirtualClock
from kseflow.api.client import KsefClient, make_clients
from kseflow.clock import TimeBox
from kseflow.context import Context
from kseflow.database import locked
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.loading.summary import LoadSummary
from kseflow.loading.warehouse import Warehouse
from kseflow.watch.status import status
from tests.conftest import Stage

Holder = Callable[[Path, Event, Event], None]


def outcomes(summary: LoadSummary, context: Context) -> dict[str, str]:
    return {p["resource"]: p["outcome"] for p in summary.logs if p["taxpayer"] == context}


def invoice_count(stage: Stage, context: Context) -> int:
    count: int = stage.value(
        f"select count(*) from ksef_raw.session_invoices where context_id = '{context.id}'"
    )
    return count


@pytest.mark.parametrize("token", ["expired_token", "revoked_token", "read_only_token"])
def test_one_taxpayers_trouble_does_not_touch_the_others(
    stage: Callable[..., Stage], token: str
) -> None:
    made = stage(taxpayers=3)
    healthy, broken, _ = made.contexts
    made.tokens[broken] = getattr(made.world.taxpayers[1], token)
    summary = made.load_frozen()
    assert summary.failed_taxpayers == [broken]
    assert set(outcomes(summary, healthy).values()) == {"ok"}
    assert invoice_count(made, healthy) > 0
    assert invoice_count(made, broken) == 0
    (trouble,) = made.rows("from ksef_raw.sync_log where outcome = 'failed'")
    assert trouble["context_id"] == broken.id
    assert trouble["message"]


def test_a_bug_of_ours_stops_one_taxpayer_only_and_is_logged(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = stage()

    def break_first(clients: list[KsefClient], box: TimeBox) -> None:
        monkeypatch.setattr(clients[0], "sessions", lambda *args, **kwargs: 1 / 0)

    summary = made.load(around=break_first)
    assert summary.failed_taxpayers == [made.contexts[0]]
    assert "ZeroDivisionError" in caplog.text
    assert invoice_count(made, made.contexts[1]) > 0


def test_a_login_without_introspection_is_warned_about(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    made.tokens[made.contexts[0]] = made.world.taxpayers[0].write_only_token
    summary = made.load_frozen()
    (login,) = [part for part in summary.logs if part["resource"] == "login"]
    assert login["outcome"] == "warning"
    assert "Introspection" in login["message"]
    assert summary.failed_taxpayers == []


def test_a_list_that_shrinks_is_warned_about(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    made.load_frozen()
    made.tokens[made.contexts[0]] = made.world.taxpayers[0].write_only_token
    summary = made.load_frozen(since=made.world.since)
    assert "before; does this login still have Introspection?" in " ".join(
        part["message"] or "" for part in summary.logs
    )


def test_an_invoice_against_the_contract_keeps_only_its_session_on_the_worklist(
    stage: Callable[..., Stage],
) -> None:
    fault = Fault("missing-field", path="/invoices$", field="invoicingDate")
    made = stage(taxpayers=1, short_pages=False, faults=[fault], days=1, counted_failures="never")
    summary = made.load_frozen(in_progress="all")
    (part,) = [part for part in summary.logs if part["resource"] == "invoices"]
    assert part["outcome"] == "failed"
    assert "invoicingDate" in part["message"]
    (read,) = made.rows("from ksef_raw.invoice_reads where error is not null")
    session = read["session_reference_number"]
    assert session in part["message"]
    missing = Warehouse.of_file(made.database).worklist().lacking(in_progress="all").to_pylist()
    assert [row["reference_number"] for row in missing if row["missing_count"]] == [session]
    made.faults = []
    made.clock.sleep(24 * 3600)
    made.load_frozen(in_progress="all")
    assert made.value(
        "select count(*) from ksef_raw.session_invoices "
        f"where session_reference_number = '{session}'"
    )


def test_one_bad_invoice_keeps_none_of_its_neighbours_away(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, days=3, counted_failures="never")
    bad: set[str] = set()

    class OneBad(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            await answer.aread()
            await answer.aclose()
            content = answer.content
            if request.url.path.endswith("/invoices") and b'"invoices":[{' in content:
                body = answer.json()
                first = body["invoices"][0]
                bad.add(first["referenceNumber"])
                body["invoices"][0] = {**first, "invoicingDate": ["never"]}
                content = json.dumps(body).encode()
            stream, headers = httpx.ByteStream(content), {"Content-Type": "application/json"}
            return httpx.Response(answer.status_code, headers=headers, stream=stream)

    box = made.box(clock=VirtualClock(made.at))
    with made.served() as base_url:
        clients = make_clients(base_url, made.logins(), box, transport=OneBad())
        summary = made.load_with(clients, box, in_progress="all")
    (part,) = [part for part in summary.logs if part["resource"] == "invoices"]
    assert part["outcome"] == "failed"
    assert len(bad) > 5  # more sessions in a row than end a lane that is in trouble
    stored = {row["reference_number"] for row in made.rows("from ksef_raw.session_invoices")}
    context_id = made.contexts[0].id
    true = {
        invoice["referenceNumber"]
        for session in made.world.sessions(context_id, made.at)
        for invoice in made.world.invoices(context_id, session["referenceNumber"], made.at)
    }
    assert stored == true - bad
    told = made.rows("from ksef_raw.invoice_reads where error like '%invoicingDate%'")
    assert len(told) == len(bad)


def test_unknown_fields_are_kept(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, faults=[Fault("extra-field", field="colour", times=99)], days=1)
    made.load_frozen()
    assert made.value("select count(*) from ksef_raw.sessions where unrecognised is null") == 0
    assert "colour" in made.rows("from ksef_raw.session_invoices limit 1")[0]["unrecognised"]


def test_a_long_429_of_one_taxpayer_lets_the_others_go_on(stage: Callable[..., Stage]) -> None:
    made = stage(limits="production", faults=[Fault("429", path="/sessions$", retry_after_s=1800)])
    made.load()
    ends = made.rows("select context_id, max(ended_at) as at from ksef_raw.sync_log group by 1")
    blocked, free = sorted((row["at"] for row in ends), reverse=True)
    assert (blocked - made.at).total_seconds() > 1800
    assert (free - made.at).total_seconds() < 900


def test_the_next_runs_windows_begin_with_what_this_run_spent(stage: Callable[..., Stage]) -> None:
    made = stage(limits="production", sessions_per_day=60, days=4, short_pages=False)
    with made.served() as base_url:
        app = made.app
        for _ in range(3):
            made.clock.sleep(300)
            box = made.box(max_time_s=240)
            made.load_with(make_clients(base_url, made.logins(), box), box)
    assert 429 not in {request.status for request in app.requests}
    assert made.value("select sum(throttled_count) from ksef_raw.api_requests") == 0
    assert made.value("select count(distinct run_id) from ksef_raw.api_requests") == 3


def test_only_the_wanted_tables_are_loaded(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, counted_failures="never")
    made.load_frozen(only=["sessions"])
    assert made.value("select count(*) from ksef_raw.sessions") > 0
    assert made.value("select count(*) from ksef_raw.session_invoices") == 0
    summary = made.load_frozen(only=["failed_invoices"])
    assert "sessionList" not in summary.request_counts
    assert made.value("select count(*) from ksef_raw.failed_invoices") == made.value(
        "select sum(failed_invoice_count) from ksef_raw.sessions where total_invoice_count > 0"
    )
    with pytest.raises(ConfigurationError, match="no such table"):
        made.load_frozen(only=["invoices"])


def test_a_session_that_lists_none_of_its_failures_stops_no_other(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=1, counted_failures="always")
    summary = made.load_frozen(only=["sessions", "failed_invoices"])
    assert {part["outcome"] for part in summary.logs} == {"ok"}
    assert made.rows(
        "from ksef_raw.invoice_reads as r join ksef_raw.sessions as s "
        "on s.reference_number = r.session_reference_number "
        "where row_count = 0 and failed_invoice_count > 0 and endpoint = 'failed'"
    )
    listed_count = sum(
        len(made.world.failed_invoices(context.id, item["referenceNumber"], made.clock.now()))
        for context in made.contexts
        for item in made.world.sessions(context.id, made.clock.now())
    )
    assert made.value("select count(*) from ksef_raw.failed_invoices") == listed_count


def test_signed_urls_and_tokens_never_reach_the_database(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    made.load_frozen(in_progress="all")
    content = made.database.read_bytes()
    assert b"sig=" not in content
    assert made.tokens[made.contexts[0]].encode() not in content


def test_two_environments_do_not_mix_in_one_database(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    made.load_frozen()
    with duckdb.connect(str(made.database)) as connection:
        connection.execute("update ksef_raw.sync_log set environment = 'https://api.ksef/v2'")
    clients = [KsefClient("test", made.logins()[0], clock=made.box())]
    with pytest.raises(WarehouseError, match="use another --database for each environment"):
        made.load_with(clients, made.box())


# -- the database file --------------------------------------------------------------------------


def hold_lock(database: Path, held: Event, release: Event) -> None:
    with locked(database, 5):
        held.set()
        release.wait(30)


def hold_open(database: Path, held: Event, release: Event) -> None:
    with duckdb.connect(str(database)):
        held.set()
        release.wait(30)


@pytest.fixture
def another_process() -> Iterator[Callable[[Holder, Path], Event]]:
    """Run a function in another process until the test ends."""
    context = multiprocessing.get_context("spawn")
    release = context.Event()
    started: list[BaseProcess] = []

    def run(function: Holder, database: Path) -> Event:
        held = context.Event()
        process = context.Process(target=function, args=(database, held, release))
        process.start()
        started.append(process)
        assert held.wait(30)
        return release

    yield run
    release.set()
    for process in started:
        process.join(30)


@pytest.mark.parametrize(
    ("holder", "problem"),
    [(hold_lock, "another load is writing"), (hold_open, "another program has it open")],
)
def test_a_second_load_waits_and_is_then_refused(
    stage: Callable[..., Stage],
    another_process: Callable[[Holder, Path], Event],
    holder: Holder,
    problem: str,
) -> None:
    made = stage(taxpayers=1)
    another_process(holder, made.database)
    with pytest.raises(WarehouseError, match=problem), locked(made.database, 0.5):
        pass


def test_a_second_load_goes_on_when_the_first_has_ended(
    stage: Callable[..., Stage], another_process: Callable[[Holder, Path], Event]
) -> None:
    made = stage(taxpayers=1)
    release = another_process(hold_lock, made.database)
    release.set()
    with locked(made.database, 20):
        pass


def test_a_database_that_is_no_database_is_told(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    made.database.write_text("not a database, really" * 1000)
    with pytest.raises(WarehouseError, match="is no DuckDB file"):
        made.load_frozen()
    assert made.database.read_text().startswith("not a database")


def test_a_deleted_database_is_loaded_anew_from_the_beginning(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    made.load_frozen()
    count = made.value("select count(*) from ksef_raw.session_invoices")
    made.database.unlink()
    made.load_frozen()
    assert made.value("select count(*) from ksef_raw.session_invoices") == count


def test_lost_working_files_cost_nothing_but_time(stage: Callable[..., Stage]) -> None:
    """The cursors come back from the database, and so does the worklist."""
    made = stage(taxpayers=1, short_pages=False)
    made.load_frozen()
    shutil.rmtree(made.database.parent / ".ksef-dlt")
    summary = made.load_frozen()
    assert summary.request_counts["sessionList"] == 2
    assert sum(part["changed_count"] for part in summary.logs) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A file system of its own, made and unmade by `mount`."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if done.returncode and "CI" not in os.environ:
            pytest.skip(f"mount needs root: {done.stderr.decode().strip()}")
        assert done.returncode == 0, done.stderr
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True, check=False)


def test_a_full_disk_is_told_and_the_next_load_goes_on(
    stage: Callable[..., Stage], small_disk: Callable[..., Path]
) -> None:
    made = stage(taxpayers=1, days=6, sessions_per_day=30, counted_failures="never")
    made.database = small_disk("size=6m") / "ksef.duckdb"
    filler = made.database.with_name("filler")
    filler.write_bytes(b"x" * 5_000_000)
    with pytest.raises(WarehouseError, match="the disk is full; make room and run it again"):
        made.load_frozen()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", filler.parent], check=True)
    made.load_frozen(in_progress="all")
    assert made.value("select count(*) from ksef_raw.sessions") == len(
        made.world.sessions(made.contexts[0].id, made.clock.now())
    )
    assert made.status(in_progress="all")[0].worklist_missing_count == 0


def test_a_read_only_database_is_told(
    stage: Callable[..., Stage], small_disk: Callable[..., Path]
) -> None:
    made = stage(taxpayers=1)
    made.database = small_disk("size=50m") / "ksef.duckdb"
    made.load_frozen()
    subprocess.run(["mount", "-o", "remount,ro", made.database.parent], check=True)
    with pytest.raises(WarehouseError, match="check the file's and the folder's permissions"):
        made.load_frozen()
    assert made.value("select count(*) from ksef_raw.sessions") > 0


def test_rows_that_the_database_refused_are_kept_and_loaded_later(
    stage: Callable[..., Stage],
) -> None:
    """The cursors have gone on with them: rows that were dropped would never come again."""
    made = stage(taxpayers=1, days=1)
    made.load_frozen(in_progress="all")
    with duckdb.connect(str(made.database)) as connection:
        connection.execute("alter table ksef_raw.sessions rename to kept")
        connection.execute("create view ksef_raw.sessions as from ksef_raw.kept")
    made.clock.sleep(30 * 3600)
    with pytest.raises(WarehouseError):
        made.load_frozen(in_progress="all")
    with duckdb.connect(str(made.database)) as connection:
        connection.execute("drop view ksef_raw.sessions")
        connection.execute("alter table ksef_raw.kept rename to sessions")
    made.clock.sleep(600)
    made.load_frozen(in_progress="all")
    truth = made.world.sessions(made.contexts[0].id, made.clock.now())
    stored = made.rows("select reference_number, date_updated_text from ksef_raw.sessions")
    assert {row["reference_number"]: row["date_updated_text"] for row in stored} == {
        item["referenceNumber"]: item["dateUpdated"] for item in truth
    }


def test_status_tells_what_is_complete_and_what_is_left(stage: Callable[..., Stage]) -> None:
    made = stage(
        limits="production",
        sessions_per_day=60,
        days=4,
        short_pages=False,
        counted_failures="never",
    )
    made.load(max_time_s=60)
    for state in made.status():
        assert state.cursors.keys() == {"sessions_online", "sessions_batch"}
        assert state.session_count > 0
        assert state.stored_count < state.invoice_count
        assert not state.is_complete
        assert 0 <= state.remaining_requests["sessionInvoiceList"] < 200
    for _ in range(6):
        made.clock.sleep(3600)
        made.load()
    done = status(Warehouse.of_file(made.database), made.clock.now())
    assert sum(state.worklist_missing_count for state in done) == 0
