"""What a person meets who mistypes, interrupts, or names the wrong file: one sentence, no harm."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from kseflow import load
from kseflow.api.credentials import TokenCredentials
from kseflow.cli import app
from kseflow.context import Context
from kseflow.database import load_file
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.logins import configured_credentials, configured_options
from kseflow.marts.publish import last_published
from kseflow.watch.check import configured_thresholds
from tests.conftest import Stage
from tests.published import NIPS, change, copy_published

NIP = "5265877635"


def configure(config: str = "", secrets: str = "", *, encoding: str = "utf-8") -> None:
    Path(".dlt").mkdir(exist_ok=True)
    Path(".dlt/config.toml").write_text(config, encoding=encoding)
    Path(".dlt/secrets.toml").write_text(secrets)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, with nothing configured."""
    for name in os.environ:
        if name.startswith(("SOURCES__", "CHECK__")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kseflow(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


EDGES = ("0001-01-01", "9999-12-31T23:59-05:00")  # of which Python knows no moment in UTC


def process(*arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    code = "from kseflow.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


@contextmanager
def served(made: Stage, monkeypatch: pytest.MonkeyPatch, *broken: Context) -> Iterator[str]:
    """Serve an emulator and configure its taxpayers; `broken` have a token that KSeF refuses."""
    with made.served() as base_url:
        names = [f"t{context.id}" for context in made.contexts]
        monkeypatch.setenv("SOURCES__KSEF__TAXPAYERS", json.dumps(names))
        monkeypatch.setenv("SOURCES__KSEF__ENVIRONMENT", base_url)
        monkeypatch.setenv("SOURCES__KSEF__EXPORTS_PER_HOUR", "0")
        for context, token in made.tokens.items():
            secret = "wrong" if context in broken else token
            monkeypatch.setenv(f"SOURCES__KSEF__T{context.id}__NIP", context.id)
            monkeypatch.setenv(f"SOURCES__KSEF__T{context.id}__TOKEN", secret)
        yield base_url


# -- nothing is deleted that a demo did not make -------------------------------------------------


@pytest.mark.parametrize("name", ["ksef.duckdb", "ksef-load.duckdb", "xml", "report.html"])
def test_a_demo_leaves_alone_what_no_demo_made(folder: Path, name: str) -> None:
    mine = folder / name
    if "." in name:
        mine.write_bytes(b"mine")
    else:
        mine.mkdir()
        (mine / "invoice.xml").write_bytes(b"mine")
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    refused = kseflow("demo", "--folder", ".")
    assert refused.exit_code == 1
    assert f"{name} was not made by a demo" in refused.stderr
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


def test_a_demo_leaves_alone_what_was_loaded_into_its_folder_later(
    stage: Callable[..., Stage], folder: Path
) -> None:
    (folder / ".kseflow-demo").write_text("http://127.0.0.1:9/v2\n")
    made = stage(taxpayers=1, days=1)
    made.database = load_file(made.database)
    made.load(only=["sessions"])
    assert kseflow("demo", "--folder", ".").exit_code == 1
    assert made.value("select count(*) from ksef_raw.sessions")


def test_a_demo_leaves_alone_an_analysts_file_that_was_put_into_its_folder(folder: Path) -> None:
    (folder / ".kseflow-demo").write_text("http://127.0.0.1:9/v2\n")
    copied = copy_published(folder)
    load_file(copied).unlink()
    before = copied.read_bytes()
    refused = kseflow("demo", "--folder", ".")
    assert (refused.exit_code, "not made by a demo" in refused.stderr) == (1, True)
    assert copied.read_bytes() == before


# -- exit codes ------------------------------------------------------------------------------------


def test_a_load_that_does_nothing_for_anybody_ends_with_1(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(days=1, taxpayers=2)
    first, second = made.contexts
    with served(made, monkeypatch, first, second):
        assert kseflow("load", "--only", "sessions").exit_code == 1
        assert kseflow("load", "--only", "sessions", "--nip", first.id).exit_code == 1
    with served(made, monkeypatch, first):
        assert kseflow("load", "--only", "sessions").exit_code == 3
        assert kseflow("load", "--only", "sessions", "--nip", second.id).exit_code == 0


def test_a_load_whose_time_ends_before_anybody_could_log_in_is_in_vain(folder: Path) -> None:
    credentials = [TokenCredentials(Context("Nip", NIP), "x")]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v2"
        made = load(folder / "x.duckdb", environment=url, credentials=credentials, max_time_s=2)
    assert made.is_in_vain
    assert made.logs[0]["outcome"] == "out of time"


def test_quiet_says_only_what_is_wrong(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(days=1, taxpayers=2)
    first, second = made.contexts
    with served(made, monkeypatch, first):
        fine = kseflow("load", "--quiet", "--only", "sessions", "--nip", second.id)
        assert (fine.exit_code, fine.output) == (0, "")
        wrong = kseflow("load", "--quiet", "--only", "sessions")
        assert wrong.stdout == ""
        assert str(first) in wrong.stderr
        assert str(second) not in wrong.stderr


def test_quiet_reports_and_builds_print_nothing(folder: Path) -> None:
    copy_published(folder)
    assert kseflow("report", "--quiet").output == ""
    assert Path("report.html").exists()
    assert kseflow("build", "--quiet").output == ""


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("[sources.ksef]\nexports_per_hours = 3", "sources.ksef.exports_per_hours.*exports_per_ho"),
        ("[sources.ksef]\nenviroment = 'test'", "did you mean environment"),
        ("[sources.ksf]\nnip = 1", r"nothing reads \[sources.ksf\]; did you mean \[sources.ksef\]"),
        ("[source.ksef]\nnip = 1", r"nothing reads \[source\]; did you mean \[sources\]"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest(config: str, told: str) -> None:
    configure(config)
    with pytest.raises(ConfigurationError, match=told):
        configured_options()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("[check]\nwebhok = 'https://x'", "check.webhok.*did you mean webhook"),
        ("[check.warnings]\nfailure_rate = 0.1", "check.warnings.*did you mean warning"),
        ("[check.warning]\nfailure_rat = 0.1", "did you mean failure_rate"),
        ("[chek]\nwebhook = 'x'", r"did you mean \[check\]"),
        (
            "[check.warning]\nload_age_hours = 99\n[check.critical]\nload_age_hours = 9",
            "load_age_hours: its warning threshold 99",
        ),
        (
            "[check.warning]\nfirst_pass_rate = 0.5\n[check.critical]\nfirst_pass_rate = 0.6",
            "first_pass_rate: its warning threshold",
        ),
    ],
)
def test_a_misspelt_or_useless_threshold_is_named(config: str, told: str) -> None:
    configure(config)
    with pytest.raises(ConfigurationError, match=told):
        configured_thresholds()
    refused = kseflow("check")
    assert refused.exit_code == 3


def test_thresholds_that_are_equal_or_off_are_in_order() -> None:
    configured_thresholds(["failure_rate=0.2"], ["failure_rate=0.2"])
    configured_thresholds(["failure_rate=inf"], ["failure_rate=0.2"])
    configured_thresholds(["failure_rate=0.2"], ["failure_rate=inf"])
    configured_thresholds([], ["failure_rate=0.0001"])  # an alarm before the default warning


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8-sig", "config.toml cannot be read: it begins with a byte order mark"),
        ("utf-16", "config.toml cannot be read: it is UTF-16"),
        ("utf-16-le", "config.toml cannot be read: it is UTF-16"),
        ("cp1250", "config.toml cannot be read: save it as UTF-8"),
    ],
)
@pytest.mark.parametrize("read", [configured_options, configured_credentials])
def test_a_file_that_an_editor_spoilt_says_how_to_save_it(
    encoding: str, told: str, read: Callable[[], object]
) -> None:
    configure(f"[sources.ksef]\nnip = '{NIP}'\nname = 'Łęczna'", encoding=encoding)
    with pytest.raises(ConfigurationError, match=told):
        read()


def test_sections_that_nobody_names_are_hinted_at() -> None:
    configure(f"[sources.ksef]\ntaxpayers = ['meat']\n[sources.ksef.maet]\nnip = '{NIP}'")
    told = process("load", "--environment", "test").stderr
    assert "did you mean the section sources.ksef.maet" in told
    configure(f"[sources.ksef.meat]\nnip = '{NIP}'")
    assert 'taxpayers = ["meat"]' in process("load", "--environment", "test").stderr


def test_a_certificate_without_its_key_says_so(folder: Path) -> None:
    made = Stage(folder / "x.duckdb", taxpayers=1)
    with made.served():
        (files,) = made.app.certificate_files(folder).values()
    certificate = next(file for file in files if file.kind == "ec").certificate
    configure(f"[sources.ksef]\nnip = '{made.contexts[0].id}'\ncertificate = '{certificate}'")
    told = process("load", "--environment", "test")
    assert told.returncode == 1
    assert "holds no private key in PEM; say with private_key which file does" in told.stderr


def test_a_nip_may_have_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__KSEF__NIP", "526-587-76-35")
    monkeypatch.setenv("SOURCES__KSEF__TOKEN", "x")
    for asked in ((), [NIP], ["526 587 76 35"]):
        (credentials,) = configured_credentials(asked)
        assert credentials.context.id == NIP


def test_a_nip_may_have_dashes_where_files_are_read(folder: Path) -> None:
    copy_published(folder)
    first = NIPS[0]
    written = f"{first[:3]}-{first[3:6]}-{first[6:8]}-{first[8:]}"
    told = json.loads(kseflow("check", "--json", "--nip", written).stdout)
    assert {finding["context_id"] for finding in told["findings"]} == {first, None}
    assert kseflow("report", "--nip", written).exit_code == 0


@pytest.mark.parametrize("asked", ["invoices", "sync_log"])
def test_a_table_that_cannot_be_loaded_is_named_with_those_that_can(asked: str) -> None:
    login = {"SOURCES__KSEF__NIP": NIP, "SOURCES__KSEF__TOKEN": "x"}
    told = CliRunner().invoke(app, ["load", "--environment", "test", "--only", asked], env=login)
    assert told.exit_code == 1
    assert f"--only {asked}: there is no such table" in told.stderr
    assert "session_invoices, failed_invoices" in told.stderr


def test_a_secret_in_the_wrong_file_is_told_where_to_put_it_and_not_shown() -> None:
    configure(f"[sources.ksef]\nnip = '{NIP}'\ntoken = 'a-secret'")
    told = process("load", "--environment", "test")
    assert told.returncode == 1
    assert "sources.ksef.token is a secret" in told.stderr
    assert "move it to .dlt/secrets.toml" in told.stderr
    assert "a-secret" not in told.stderr


@pytest.mark.parametrize(
    "command",
    [
        *(["load", flag, day] for flag in ("--since", "--exports-from") for day in EDGES),
        *(["load", "--max-time", minutes] for minutes in ("0", "-5", "9" * 20)),
        ["load", "--wait", "-1"],
        ["build", "--wait", "-1"],
        ["emulate", "--port", "99999"],
        ["emulate", "--at", EDGES[0]],
    ],
)
def test_a_number_or_day_that_nobody_can_mean_is_a_usage_error(command: list[str]) -> None:
    refused = kseflow(*command)
    assert (refused.exit_code, type(refused.exception)) == (2, SystemExit)


# -- files -----------------------------------------------------------------------------------------


def cut(database: Path) -> None:
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [cut, lambda path: path.write_text("no database" * 99)])
def test_a_database_that_is_cut_or_none_is_told_in_every_command(
    folder: Path, spoil: Callable[[Path], object]
) -> None:
    database = copy_published(folder)
    for path in (database, load_file(database)):
        spoil(path)
    login = {"SOURCES__KSEF__NIP": NIP, "SOURCES__KSEF__TOKEN": "x"}
    for command in (["status"], ["build"], ["report"], ["load", "--environment", "test"]):
        told = CliRunner().invoke(app, command, env=login)
        assert told.exit_code == 1, command
        assert "is no DuckDB file, or only a part of one; restore it" in told.stderr, command
    assert "is no DuckDB file" in kseflow("check").output


def test_somebody_elses_database_is_left_alone(
    stage: Callable[..., Stage], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sql in ("create table t as select 1 as a", "create table published as select 2 as a"):
        for name in ("ksef.duckdb", "ksef-load.duckdb"):
            (folder / name).unlink(missing_ok=True)
            with duckdb.connect(str(folder / name)) as connection:
                connection.execute(sql)
        with pytest.raises(WarehouseError, match="not published by kseflow; choose another file"):
            last_published(folder / "ksef.duckdb")
        before = (folder / "ksef-load.duckdb").read_bytes()
        with served(stage(taxpayers=1, days=1), monkeypatch):
            told = kseflow("load", "--only", "sessions")
            assert (told.exit_code, "holds tables of another program" in told.stderr) == (1, True)
            assert kseflow("load", "--build").exit_code == 1
        assert (folder / "ksef-load.duckdb").read_bytes() == before
        told = kseflow("check")
        assert (told.exit_code, "lacks marts" in told.output) == (3, True)


def test_a_folder_may_have_an_apostrophe_brackets_and_spaces(folder: Path) -> None:
    odd = folder / "o'brien [old] ąę"
    odd.mkdir()
    copy_published(odd)
    change(odd / "ksef-load.duckdb", "delete from ksef_raw.sync_log where resource = 'login'")
    database = str(odd / "ksef.duckdb")
    built = kseflow("build", "--database", database)
    assert (built.exit_code, built.stderr) == (0, "")
    assert kseflow("status", "--database", database).exit_code == 0
    assert kseflow("report", "--database", database, "--out", str(odd / "r.html")).exit_code == 0


@pytest.mark.parametrize("command", ["load", "status", "build", "report", "doctor", "check"])
@pytest.mark.parametrize("database", ["", ".", "folder", "a" * 300])
def test_a_database_that_can_be_no_file_is_told_in_every_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, database: str
) -> None:
    (folder / "folder").mkdir()
    for name, value in {"NIP": NIP, "TOKEN": "x", "ENVIRONMENT": "http://127.0.0.1:9/v2"}.items():
        monkeypatch.setenv(f"SOURCES__KSEF__{name}", value)
    told = kseflow(command, "--database", database)
    assert (told.exit_code, type(told.exception)) == (3 if command == "check" else 1, SystemExit)
    problem = "too long" if len(database) > 255 else "folder|directory"
    assert re.search(problem, told.output)
    assert [path.name for path in folder.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["report", "--out", "."], "it is a folder; name a file"),
        (["report", "--out", "taken/report.html"], "name a folder"),
        (["demo", "--folder", "taken"], "name a folder"),
        (["build", "--database", "taken/ksef.duckdb"], "no such file"),
    ],
)
def test_a_file_for_a_folder_or_a_folder_for_a_file_is_told(
    folder: Path, command: list[str], told: str
) -> None:
    copy_published(folder)
    (folder / "taken").write_text("mine")
    refused = kseflow(*command)
    assert refused.exit_code == 1
    assert told in refused.stderr
    assert (folder / "taken").read_text() == "mine"


def test_receipts_do_not_go_into_a_file(
    stage: Callable[..., Stage], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=1, days=1)
    (folder / "taken").write_text("mine")
    with served(made, monkeypatch):
        made.load_frozen(only=["sessions"])
        session = made.value(
            "select reference_number from ksef_raw.sessions where successful_invoice_count > 0 "
            "and status_code = 200 limit 1"
        )
    with served(made, monkeypatch):
        refused = kseflow("upo", "--session", session, "--out", "taken")
    assert refused.exit_code == 1
    assert "taken: a file stands where a folder should be" in refused.stderr


# -- the machine -----------------------------------------------------------------------------------


def test_a_terminal_that_knows_ascii_only_gets_what_it_can_show(folder: Path) -> None:
    database = copy_published(folder)
    change(load_file(database), "update ksef_raw.sync_log set taxpayer_name = 'Zakłady Łęczna'")
    for command in (["status"], ["check"], ["report"], ["--help"]):
        told = process(*command, env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
        assert "Traceback" not in told.stderr, command
        assert told.stdout
        assert "Error" not in told.stderr


def test_a_folder_that_was_deleted_is_told(folder: Path) -> None:
    (folder / "gone").mkdir()
    script = (
        f"rmdir ../gone; exec {sys.executable} -c 'from kseflow.cli import main; main()' status"
    )
    told = subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder / "gone", capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert told.stderr == "error: the folder you are in was deleted; change to one that exists\n"


@pytest.mark.parametrize("size_bytes", [1_000, 300_000, 900_000])
def test_a_full_disk_is_told_and_the_next_load_goes_on(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    made = stage(taxpayers=1, days=2)

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    with served(made, monkeypatch):
        told = process("load", "--build", preexec_fn=bounded)
        assert told.returncode == 1, told.stderr
        assert "Traceback" not in told.stderr
        assert "make room" in told.stderr
        assert kseflow("load").exit_code == 0


INTERRUPTED = """
import os, signal, sys, dlt
def interrupted(step, times):
    real = getattr(dlt.Pipeline, step)
    def call(self, *args, **more):
        setattr(dlt.Pipeline, step, real)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *args, **more)
    setattr(dlt.Pipeline, step, call)
interrupted(sys.argv.pop(1), int(sys.argv.pop(1)))
from kseflow.cli import main
main()
"""


@pytest.mark.parametrize(("step", "times"), [("normalize", 1), ("load", 1), ("load", 2)])
def test_ctrl_c_while_dlt_commits_is_130(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, step: str, times: int
) -> None:
    made = stage(taxpayers=1, days=1)
    with served(made, monkeypatch):
        told = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, step, str(times), "load", "--only", "sessions"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.returncode == 130, told.stderr
        assert "Traceback" not in told.stderr
        assert kseflow("load", "--only", "sessions").exit_code == 0


def test_two_loads_at_once_end_without_a_traceback(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=1, days=1)
    code = "from kseflow.cli import main; main()"
    with served(made, monkeypatch):
        for wait in ("0", "60"):
            loads = [
                subprocess.Popen(
                    [sys.executable, "-c", code, "load", "--only", "sessions", "--wait", wait],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for _ in range(3)
            ]
            while any(load.poll() is None for load in loads):
                assert kseflow("status").exception.__class__ in (SystemExit, type(None))
            told = [load.communicate(timeout=120)[1] for load in loads]
            assert "Traceback" not in "".join(told)
            codes = [load.returncode for load in loads]
            assert 0 in codes, told
            assert set(codes) <= ({0} if wait == "60" else {0, 1}), told
