"""kseflow doctor: what it examines, what it costs, and that it keeps secrets."""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ksef_emulator import ExportSettings, Fault, VirtualClock
from kseflow.clock import SimulatedClock, SystemClock
from kseflow.database import load_file
from kseflow.logins import configured_credentials
from kseflow.watch.doctor.examine import examine
from kseflow.watch.doctor.files import examine_databases
from kseflow.watch.finding import Finding, State
from tests.conftest import Stage
from tests.published import NIPS, change, copy_published

SECRET = "T0PSECRET"
OK, WARNING, ERROR = State.OK, State.WARNING, State.CRITICAL


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("SOURCES__", "CHECK__")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Configure taxpayers by NIP and what they log in with."""

    def set_variables(logins: dict[str, dict[str, str]], **options: str) -> None:
        for nip, login in logins.items():
            for name, value in {"nip": nip, **login}.items():
                monkeypatch.setenv(f"SOURCES__KSEF__T{nip}__{name}".upper(), str(value))
        monkeypatch.setenv("SOURCES__KSEF__TAXPAYERS", json.dumps([f"t{nip}" for nip in logins]))
        for name, value in options.items():
            monkeypatch.setenv(f"SOURCES__KSEF__{name}".upper(), value)

    return set_variables


def tokens(stage: Stage) -> dict[str, dict[str, str]]:
    return {context.id: {"token": stage.tokens[context]} for context in stage.contexts}


def lines_of(stage: Stage, *, behind_s: float = 0.0, **options: Any) -> list[Finding]:
    """Examine the emulator, with a clock that is `behind_s` behind its own."""
    clock = (
        VirtualClock(stage.clock.now() - timedelta(seconds=behind_s)) if behind_s else stage.clock
    )
    with stage.served() as base_url:
        return list(examine(stage.database, SimulatedClock(clock), environment=base_url, **options))


def about(lines: list[Finding], topic: str, nip: str | None = None) -> list[Finding]:
    who = [line for line in lines if line.topic == topic]
    return [line for line in who if nip is None or (line.taxpayer and line.taxpayer.id == nip)]


def one(lines: list[Finding], topic: str, nip: str | None = None) -> Finding:
    (line,) = about(lines, topic, nip)
    return line


def test_all_is_ok_and_costs_a_login_and_one_request_for_each_taxpayer(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage(limits="production")
    made.database = load_file(made.database)
    made.load()
    analysts = made.database.with_name("ksef.duckdb")
    configure(tokens(made))
    made.database = analysts
    lines = lines_of(made)
    assert [line for line in lines if line.state is not OK] == [one(lines, "marts")]
    asked = Counter(request.route.removeprefix("/v2/") for request in made.app.requests)
    assert asked["rate-limits"] == asked["auth/challenge"] == asked["auth/token/redeem"] == 2
    assert asked["security/public-key-certificates"] == 1 + 2  # a login by token needs the keys
    assert {request.group for request in made.app.requests} == {"anonymous", "other"}
    limits = one(lines, "limits", made.contexts[0].id).message
    assert "60 session lists (" in limits
    assert "spent) = up to 200,000 invoices or 200 small sessions; 20 exports" in limits


def test_nothing_it_says_holds_a_secret(
    stage: Callable[..., Stage], configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage()
    first, second = made.contexts
    monkeypatch.setenv("CHECK__WEBHOOK", f"https://hooks.invalid/{SECRET}")
    logins = tokens(made) | {second.id: {"token": SECRET}}
    configure(logins)
    lines = lines_of(made)
    assert one(lines, "login", first.id).state is OK
    assert one(lines, "login", second.id).state is ERROR
    told = json.dumps([line.as_json() for line in lines]) + repr(lines)
    assert SECRET not in told
    assert made.tokens[first] not in told
    assert one(lines, "webhook").message.endswith("posts its findings to the configured webhook")


def test_it_says_where_each_login_is_from(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage()
    configure(tokens(made))
    told = one(lines_of(made), "configuration", made.contexts[0].id).message
    assert told == f"sources.ksef.t{made.contexts[0].id}: a token from Environment Variables"


def test_a_taxpayer_that_cannot_work_stops_no_other(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage(taxpayers=3)
    first, second, third = (context.id for context in made.contexts)
    logins = tokens(made) | {first: {"token": "revoked"}, second: {"certificate": "nowhere.crt"}}
    configure(logins)
    lines = lines_of(made)
    assert one(lines, "login", first).state is ERROR
    assert one(lines, "login", first).remedy == "Make a new token or certificate"
    (broken,) = (line for line in about(lines, "configuration") if line.state is ERROR)
    assert (
        broken.message
        == f"sources.ksef.t{second}: cannot read nowhere.crt: No such file or directory"
    )
    assert [one(lines, topic, third).state for topic in ("login", "permissions", "limits")] == [
        OK
    ] * 3


def test_a_taxpayer_that_nobody_named_is_told(
    stage: Callable[..., Stage], configure: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    made = stage()
    configure(tokens(made))
    folder = Path(".dlt")
    folder.mkdir()
    forgotten = '[sources.ksef.forgotten]\nnip = "1111111111"\n[sources.ksef.schema]\nx = 1\n'
    (folder / "config.toml").write_text(forgotten)
    told = "sources.ksef.forgotten is not named in taxpayers and is not loaded"
    (line,) = (each for each in about(lines_of(made), "configuration") if each.state is WARNING)
    assert line.message == told
    assert len(configured_credentials()) == len(made.contexts)
    assert caplog.messages == [told]


def test_only_the_named_taxpayers_log_in(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage()
    first, second = (context.id for context in made.contexts)
    configure(tokens(made))
    lines = lines_of(made, ids=[second, "1111111111"])
    assert not about(lines, "login", first)
    assert one(lines, "login", second).state is OK
    assert any("--nip 1111111111: no such taxpayer" in line.message for line in lines)


def test_without_any_configuration_it_still_examines_the_rest(stage: Callable[..., Stage]) -> None:
    lines = lines_of(stage())
    assert "no taxpayer in sources.ksef" in one(lines, "configuration").message
    assert {"network", "clock", "public keys", "disk"} <= {line.topic for line in lines}
    unknown = list(examine(Path("ksef.duckdb"), SimulatedClock(stage().clock)))
    assert "no environment: say --environment" in one(unknown, "environment").message


def test_options_that_are_none_are_an_error(
    stage: Callable[..., Stage], configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHECK__WARNING__FAILUR_RATE", "1")
    made = stage()
    configure(tokens(made))
    lines = lines_of(made)
    (odd,) = (line for line in about(lines, "configuration") if line.state is ERROR)
    assert "there is no such check" in odd.message
    assert one(lines, "login", made.contexts[0].id).state is OK


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("read_only_token", ["Introspection is missing: KSeF shows at most the sessions that"]),
        (
            "write_only_token",
            [
                "Introspection is missing: ",
                "InvoiceRead is missing: nothing is exported",
                "the token may do more than a load needs: InvoiceWrite",
            ],
        ),
    ],
)
def test_each_permission_too_few_or_too_many_is_told_with_its_cost(
    stage: Callable[..., Stage], configure: Callable[..., None], kind: str, told: list[str]
) -> None:
    made = stage(taxpayers=1)
    configure({made.contexts[0].id: {"token": getattr(made.world.taxpayers[0], kind)}})
    lines = about(lines_of(made), "permissions")
    refused = kind == "read_only_token"  # who neither sends nor may see sessions gets no list
    assert [line.state for line in lines] == [ERROR if refused else WARNING] * len(told)
    for line, text in zip(lines, told, strict=True):
        assert text in line.message


def test_invoice_read_is_not_missed_where_nothing_is_exported(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage(taxpayers=1)
    token = made.world.taxpayers[0].write_only_token
    configure({made.contexts[0].id: {"token": token}}, exports_per_hour="0")
    told = [line.message for line in about(lines_of(made), "permissions")]
    assert not any("InvoiceRead is missing" in message for message in told)


@pytest.mark.parametrize(
    ("behind_s", "health", "told"),
    [
        (3, OK, "at most 4 s off"),
        (10, WARNING, "10 s behind"),
        (-10, WARNING, "9 s ahead of"),
        (75, ERROR, "75 s behind"),
        (-75, ERROR, "74 s ahead of"),
    ],
)
def test_a_clock_that_is_off_is_found_by_the_date_header(
    stage: Callable[..., Stage],
    configure: Callable[..., None],
    behind_s: float,
    health: State,
    told: str,
) -> None:
    made = stage(taxpayers=1)
    line = one(lines_of(made, behind_s=behind_s), "clock")
    assert line.state is health
    assert told in line.message


def test_public_keys_that_end_or_are_followed_are_told(stage: Callable[..., Stage]) -> None:
    made = stage(days=10)

    def told(days: float) -> list[Finding]:
        return about(lines_of(made, behind_s=-86400 * (days - 10)), "public keys")

    assert [line.state for line in told(10.5)] == [OK, OK]
    assert all("the next one is valid from" in line.message for line in told(-50))
    assert all("and no other follows" in line.message for line in told(680))
    assert [line.state for line in told(680)] == [WARNING, WARNING]
    assert [line.state for line in told(700)] == [ERROR, ERROR]


def test_a_certificate_tells_how_long_it_is_valid(
    stage: Callable[..., Stage], configure: Callable[..., None], tmp_path: Path
) -> None:
    made = stage(taxpayers=1, days=10)
    with made.served():
        ((files, *_),) = made.app.certificate_files(tmp_path).values()
    login = {
        "certificate": files.certificate,
        "private_key": files.key,
        "password": files.password,
    }
    nip = made.contexts[0].id
    configure({nip: {name: str(value) for name, value in login.items()}})
    lines = lines_of(made)
    assert one(lines, "certificate", nip).message.endswith("690 days left")
    assert one(lines, "login", nip).message == "works with the certificate"
    assert files.password not in repr(lines)
    assert not about(lines, "files")
    Path(files.key).chmod(0o644)
    assert str(files.key) in one(lines_of(made), "files", nip).message
    ending = one(lines_of(made, behind_s=-86400 * 680), "certificate", nip)
    assert ending.state is WARNING
    assert ending.remedy == "Renew it in the taxpayer application"
    assert one(lines_of(made, behind_s=-86400 * 691), "certificate", nip).state is ERROR


def test_limits_that_cannot_be_read_leave_the_login_as_it_is(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage(taxpayers=1, faults=[Fault("not-json", path="/rate-limits$", times=9)])
    configure(tokens(made))
    lines = lines_of(made)
    assert one(lines, "login").state is OK
    assert one(lines, "permissions").state is OK
    assert one(lines, "limits").state is ERROR


def test_a_firewall_in_place_of_ksef_is_told(stage: Callable[..., Stage]) -> None:
    made = stage(faults=[Fault("403-waf", path="/public-key-certificates$", times=9)])
    lines = lines_of(made)
    assert one(lines, "network").state is OK
    assert one(lines, "public keys").state is ERROR
    assert "HTTP 403" in one(lines, "public keys").message


def test_a_page_of_the_firewall_passes_and_is_told_as_such_where_it_stays(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage(taxpayers=1, faults=[Fault("html", path="/public-key-certificates$", times=2)])
    configure(tokens(made))
    assert one(lines_of(made), "network").state is OK
    made.faults = [Fault("html", times=999)]
    line = one(lines_of(made), "network")
    assert line.state is ERROR
    assert "firewall" in line.message


def test_an_answer_without_an_end_is_no_answer(stage: Callable[..., Stage]) -> None:
    text = "x" * 2_000_000
    fault = Fault("extra-field", path="/public-key-certificates$", field=text, times=9)
    line = one(lines_of(stage(faults=[fault])), "network")
    assert line.state is ERROR
    assert "1,000,000 bytes" in line.message


def test_every_request_of_a_doctor_and_a_load_says_who_sends_it(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    made = stage(taxpayers=1, days=1, exports_per_hour=4, exports=ExportSettings())
    configure(tokens(made))
    lines_of(made)
    asked = [*made.app.requests]
    made.load(exports_from=made.world.since)
    asked += made.app.requests
    assert {"anonymous", "other", "sessionList", "storage"} <= {request.group for request in asked}
    assert {r.headers["User-Agent"] for r in asked} == {f"kseflow/{version('kseflow')}"}


def test_a_host_that_does_not_answer_is_told_once_and_the_rest_is_examined(
    configure: Callable[..., None],
) -> None:
    configure({NIPS[0]: {"token": SECRET}, NIPS[1]: {"token": SECRET}})
    clock = SystemClock()
    lines = list(examine(Path("ksef.duckdb"), clock, environment="http://127.0.0.1:9/v2"))
    assert (
        "127.0.0.1:9 gives no answer unencrypted, without a proxy" in one(lines, "network").message
    )
    assert [line.message for line in about(lines, "login")] == ["not tried"] * 2
    assert one(lines, "disk").state is OK


@pytest.mark.parametrize("scheme", ["http", "gopher"])
def test_the_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:{SECRET}@127.0.0.1:9")
    lines = list(examine(Path("k.duckdb"), SystemClock(), environment="https://ksef.invalid/v2"))
    line = one(lines, "network")
    assert line.state is ERROR
    assert "over TLS" in line.message
    assert "through the proxy 127.0.0.1:9: " in line.message
    assert SECRET not in repr(lines)


@contextmanager
def encrypted_server(stage: Stage, folder: Path) -> Iterator[str]:
    """Serve TLS with a certificate that nobody trusts."""
    with stage.served():
        ((files, *_),) = stage.app.certificate_files(folder).values()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key, files.password)

    class Server(HTTPServer):
        def finish_request(self, request: Any, client_address: Any) -> None:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(request, server_side=True)

    with Server(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/v2"
        finally:
            server.shutdown()
            thread.join()


def test_a_certificate_that_is_not_trusted_is_told_with_the_remedy(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    with encrypted_server(stage(taxpayers=1), tmp_path) as base_url:
        lines = list(examine(Path("ksef.duckdb"), SystemClock(), environment=base_url))
    line = one(lines, "network")
    assert "CERTIFICATE_VERIFY_FAILED" in line.message
    assert "SSL_CERT_FILE" in (line.remedy or "")


# The database

PRODUCTION = "https://api.ksef.mf.gov.pl/v2"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return copy_published(tmp_path)


def files_of(database: Path, base_url: str | None = PRODUCTION) -> list[Finding]:
    return list(examine_databases(database, base_url))


def test_a_database_that_is_in_order_is_ok_in_every_line(database: Path) -> None:
    lines = files_of(database)
    assert [line.state for line in lines] == [OK] * 5, lines
    assert one(lines, "marts").message.endswith("of the last load")


def test_a_database_that_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    lines = files_of(tmp_path / "new" / "ksef.duckdb")
    assert [line.state for line in lines] == [OK, WARNING]
    assert lines[-1].remedy == "Run kseflow load"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_database_that_another_program_holds_is_a_warning(database: Path, mode: str) -> None:
    hold = (
        f"import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={mode == 'read'}); "
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(load_file(database))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        lines = files_of(database)
        process.communicate(b"\n")
    held = one(lines, "database") if mode == "read" else about(lines, "database")[0]
    assert held.state is WARNING
    assert "another program has it open" in held.message
    assert (one(lines, "tables").state is OK) if mode == "read" else not about(lines, "tables")


def test_a_file_that_is_no_database_is_an_error(database: Path) -> None:
    load_file(database).write_text("no database")
    assert {line.state for line in about(files_of(database), "database")} == {ERROR}


def test_another_environment_is_an_error(database: Path) -> None:
    change(
        load_file(database),
        "update ksef_raw.sync_log set environment = 'https://api-demo.ksef.mf.gov.pl/v2'",
    )
    line = one(files_of(database), "environment")
    assert line.state is ERROR
    assert f"api-demo.ksef.mf.gov.pl/v2, not of {PRODUCTION}" in line.message
    assert one(files_of(database, "http://127.0.0.1:1/v2"), "environment").state is OK


def test_tables_of_another_version_are_named(database: Path) -> None:
    change(
        load_file(database),
        "alter table ksef_raw.upo_reads drop column error;"
        "alter table ksef_raw.sync_log add column mood text;"
        "drop table ksef_raw._dlt_version; drop table ksef_raw.invoice_metadata",
    )
    line = one(files_of(database), "tables")
    assert line.state is WARNING
    assert line.message == (
        "_dlt_version is missing; sync_log has mood as well; upo_reads lacks error"
    )


@pytest.mark.parametrize(
    ("where", "sql", "told"),
    [
        ("raw", "update ksef_raw.sync_log set run_id = 'z' || run_id", "older than the last load"),
        ("marts", "update published set kseflow_version = '0.0.1'", "made by kseflow 0.0.1"),
    ],
)
def test_marts_that_are_behind_are_a_warning(
    database: Path, where: str, sql: str, told: str
) -> None:
    change(load_file(database) if where == "raw" else database, sql)
    line = one(files_of(database), "marts")
    assert (line.state, line.remedy) == (WARNING, "Run kseflow build")
    assert told in line.message


def test_an_analysts_file_that_is_missing_is_a_warning_and_a_strangers_an_error(
    database: Path,
) -> None:
    database.unlink()
    assert one(files_of(database), "marts").state is WARNING
    with duckdb.connect(str(database)) as connection:
        connection.execute("create table own (a int)")
    assert "was not published by kseflow" in about(files_of(database), "database")[-1].message


def test_a_full_disk_and_a_folder_without_permission_are_told(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseflow.watch.doctor.files.FREE_BYTES", 10**18)
    line = one(files_of(database), "disk")
    assert line.state is WARNING
    assert "Make room" in (line.remedy or "")


# The command


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kseflow.cli", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_configuration_file_that_is_no_toml_is_an_error_and_the_rest_is_examined(
    tmp_path: Path,
) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[check]\nwebhook = = "{SECRET}"\n')
    told = run("--environment", "http://127.0.0.1:9/v2")
    assert told.returncode == 1
    assert "critical configuration: A problem encountered when loading secrets.toml" in told.stdout
    assert "at line 2 col " in told.stdout
    assert "critical network: " in told.stdout
    assert SECRET not in told.stdout + told.stderr


def test_warnings_alone_exit_0_and_an_error_exits_1(
    stage: Callable[..., Stage], configure: Callable[..., None]
) -> None:
    clock = SystemClock()
    made = stage(taxpayers=2, at=clock.now())
    first, second = (context.id for context in made.contexts)
    configure(tokens(made) | {second: {"token": SECRET}})
    with made.served(clock) as base_url:
        shown = run("--environment", base_url, "--nip", first)
        machine = run("--environment", base_url, "--nip", second, "--json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = shown.stdout.splitlines()
    assert f"OK       login, NIP {first}: works with the token" in lines
    assert "warning  database: ksef-load.duckdb does not exist yet. Run kseflow load." in lines
    assert lines[-1].endswith(" OK, 1 warning, 0 critical")
    assert machine.returncode == 1
    document = json.loads(machine.stdout)
    assert document["state"] == "CRITICAL"
    assert document["summary"].endswith(", 1 critical")
    (error,) = (line for line in document["findings"] if line["state"] == "CRITICAL")
    assert (error["topic"], error["context_id"]) == ("login", second)
    told = shown.stdout + shown.stderr + machine.stdout + machine.stderr
    assert SECRET not in told
    assert made.tokens[made.contexts[0]] not in told
    assert "Traceback" not in told
