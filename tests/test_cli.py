"""The commands as a person or a scheduler runs them: real processes, real exit codes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest

SCRIPT = [sys.executable, "-m", "kseflow.cli"]
EMULATED_AT = "2026-11-17T13:00:00+00:00"


def clean_environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOURCES__", "KSEF"))}
    return kept | {"COLUMNS": "200"} | more


class Shell:
    """Run kseflow in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = clean_environment()
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*SCRIPT, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def emulate(self, *arguments: str) -> dict[str, Any]:
        process = self.start("emulate", "--at", EMULATED_AT, *arguments)
        assert process.stdout is not None
        introduction: dict[str, Any] = json.loads(process.stdout.readline())
        return introduction

    def log_in(self, introduction: dict[str, Any], *, count: int = 1) -> None:
        """Configure taxpayers of the emulator by environment variables."""
        names = []
        for taxpayer in introduction["taxpayers"][:count]:
            name = f"t{taxpayer['nip']}"
            names.append(name)
            self.environment[f"SOURCES__KSEF__{name.upper()}__NIP"] = taxpayer["nip"]
            self.environment[f"SOURCES__KSEF__{name.upper()}__TOKEN"] = taxpayer["token"]
        self.environment["SOURCES__KSEF__TAXPAYERS"] = json.dumps(names)
        self.environment["SOURCES__KSEF__ENVIRONMENT"] = introduction["base_url"]
        # An export takes emulated seconds, which would not pass where the clock stands still.
        self.environment["SOURCES__KSEF__EXPORTS_PER_HOUR"] = "0"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_demo_loads_two_taxpayers_twice_and_can_be_repeated(shell: Shell) -> None:
    first = shell.run("demo")
    assert first.returncode == 0, first.stderr
    for promised in (
        "First load",
        "Second load, incremental",
        "What the second load brought",
        "Success and failure",
        "Top failure reasons",
        "virtual hours",
    ):
        assert promised in first.stdout
    made = [shell.folder / "kseflow-demo", *(shell.folder / "kseflow-demo").rglob("*")]
    assert [path for path in made if path.stat().st_mode & 0o077] == []
    again = shell.run("demo")

    def told(run: "subprocess.CompletedProcess[str]") -> list[str]:
        return [line for line in run.stdout.splitlines() if "127.0.0.1" not in line]

    assert told(again) == told(first)
    with duckdb.connect(str(shell.folder / "kseflow-demo" / "ksef-load.duckdb")) as connection:
        assert connection.sql(
            "select count(distinct context_id) from ksef_raw.sessions"
        ).fetchall() == [(2,)]
        truncated = connection.sql(
            "select is_metadata_only, count(*), max(invoice_count), min(invoice_count) "
            "from ksef_raw.export_packages where is_truncated group by 1 order by 1"
        ).fetchall()
    (_, by_size_count, largest, _), (_, by_count_count, _, smallest) = truncated
    assert min(by_size_count, by_count_count) >= 2
    assert largest < 1_000, "metadata do not count in the size of a package, only XML does"
    assert smallest == 10_000


def test_load_and_status_work_against_an_emulator_in_another_process(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction, count=2)
    loaded = shell.run("load", "--json")
    assert loaded.returncode == 0, loaded.stderr
    summary = json.loads(loaded.stdout)
    assert len(summary["taxpayers"]) == 2
    with duckdb.connect(str(shell.folder / "ksef-load.duckdb"), read_only=True) as connection:
        unlisted = connection.sql(
            "select sum(total_invoice_count) from ksef_raw.sessions "
            "where status_code in (405, 420, 430, 435) group by context_id order by context_id"
        ).fetchall()
    taxpayers = sorted(summary["taxpayers"], key=lambda taxpayer: taxpayer["context_id"])
    # Of sessions that failed as a whole KSeF counts invoices that it never lists.
    assert [(taxpayer["worklist_missing_count"],) for taxpayer in taxpayers] == unlisted
    assert all(missing_count > 0 for (missing_count,) in unlisted)
    assert "sessions changed" in loaded.stderr
    told = shell.run("status", "--json")
    assert told.returncode == 0
    assert [t["stored_count"] for t in json.loads(told.stdout)["taxpayers"]] == [
        t["stored_count"] for t in summary["taxpayers"]
    ]
    shown = shell.run("status")
    assert "NIP " + introduction["taxpayers"][0]["nip"] in shown.stdout
    assert "CET" in shown.stdout
    assert introduction["taxpayers"][0]["token"] not in loaded.stdout + loaded.stderr


def test_taxpayers_can_be_configured_in_dlts_files_and_with_certificates(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    first, second = introduction["taxpayers"]
    files = next(f for f in second["certificates"] if f["kind"] == "ec")
    folder = shell.folder / ".dlt"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f'[sources.ksef]\nenvironment = "{introduction["base_url"]}"\n'
        f'taxpayers = ["meat", "transport"]\n[sources.ksef.meat]\nnip = "{first["nip"]}"\n'
        f'name = "Zakłady Mięsne"\n[sources.ksef.transport]\nnip = "{second["nip"]}"\n'
        f'certificate = "{files["certificate"]}"\nprivate_key = "{files["key"]}"\n'
    )
    (folder / "secrets.toml").write_text(
        f'[sources.ksef.meat]\ntoken = "{first["token"]}"\n'
        f'[sources.ksef.transport]\npassword = "{files["password"]}"\n'
    )
    loaded = shell.run("load", "--json", "--only", "sessions")
    assert loaded.returncode == 0, loaded.stderr
    taxpayers = json.loads(loaded.stdout)["taxpayers"]
    assert all(taxpayer["session_count"] for taxpayer in taxpayers)
    assert {t["context_id"]: t["taxpayer_name"] for t in taxpayers} == {
        first["nip"]: "Zakłady Mięsne",
        second["nip"]: None,
    }
    one = shell.run("load", "--json", "--only", "sessions", "--nip", first["nip"])
    assert {log["context_id"] for log in json.loads(one.stdout)["logs"]} == {first["nip"]}


def test_a_taxpayer_that_fails_makes_the_exit_code_3_and_the_rest_is_loaded(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction, count=2)
    broken = introduction["taxpayers"][0]["nip"]
    shell.environment[f"SOURCES__KSEF__T{broken}__TOKEN"] = "not-a-token"
    loaded = shell.run("load", "--json")
    assert loaded.returncode == 3
    summary = json.loads(loaded.stdout)
    assert [t["context_id"] for t in summary["failed_taxpayers"]] == [broken]
    by_nip = {t["context_id"]: t for t in summary["taxpayers"]}
    assert by_nip[introduction["taxpayers"][1]["nip"]]["stored_count"] > 0


@pytest.mark.parametrize(
    ("variables", "arguments", "problem"),
    [
        ({}, ["--environment", "test"], "no taxpayer in sources.ksef: set sources.ksef.nip"),
        ({"NIP": "5265877635"}, ["--environment", "test"], "neither token nor certificate"),
        ({"NIP": "5265877634", "TOKEN": "x"}, ["--environment", "test"], "wrong checksum"),
        ({"NIP": "5265877635", "TOKEN": "x"}, [], "no environment: say --environment"),
        (
            {"NIP": "5265877635", "TOKEN": "x"},
            ["--environment", "prodction"],
            "unknown environment 'prodction'",
        ),
        (
            {"NIP": "5265877635", "TOKEN": "x"},
            ["--environment", "http://10.0.0.1/v2"],
            "plain HTTP",
        ),
        (
            {"NIP": "5265877635", "CERTIFICATE": "nowhere.pem"},
            ["--environment", "test"],
            "cannot read nowhere.pem",
        ),
        (
            {"NIP": "5265877635", "TOKEN": "x"},
            ["--environment", "test", "--nip", "1111111111"],
            "no such taxpayer is configured",
        ),
        (
            {"NIP": "5265877635", "TOKEN": "x"},
            ["--environment", "test", "--only", "invoices"],
            "there is no such table",
        ),
    ],
)
def test_what_cannot_work_is_told_in_one_sentence(
    shell: Shell, variables: dict[str, str], arguments: list[str], problem: str
) -> None:
    for name, value in variables.items():
        shell.environment[f"SOURCES__KSEF__{name}"] = value
    refused = shell.run("load", *arguments)
    assert refused.returncode == 1
    assert problem in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (shell.folder / "ksef-load.duckdb").exists()


def test_a_date_that_is_none_is_a_usage_error(shell: Shell) -> None:
    refused = shell.run("load", "--environment", "test", "--since", "yesterday")
    assert refused.returncode == 2
    assert "write 2026-11-20" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unreachable_host_is_told_and_the_load_ends_with_1(shell: Shell) -> None:
    shell.environment |= {"SOURCES__KSEF__NIP": "5265877635", "SOURCES__KSEF__TOKEN": "x"}
    refused = shell.run("load", "--environment", "http://127.0.0.1:9/v2")
    assert refused.returncode == 1
    assert "ConnectError" in refused.stdout
    assert "Traceback" not in refused.stderr


def test_a_load_that_builds_publishes_what_analysts_read_at_any_time(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction)
    loaded = shell.run("load", "--build", "--json")
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout)["build"]["is_published"]
    with duckdb.connect(str(shell.folder / "ksef.duckdb"), read_only=True) as analyst:
        (before,) = analyst.sql("select count(*) from marts.invoices").fetchall()
        assert before[0] > 0
        again = shell.run("load", "--build")
        assert again.returncode == 0, again.stderr
        assert "ublished" in again.stdout  # or that nothing changed since
        assert analyst.sql("select count(*) from marts.invoices").fetchall() == [before]
    shown = shell.run("status")
    assert "Published for analysts" in shown.stdout
    built = shell.run("build", "--json")
    assert built.returncode == 0, built.stderr
    assert not json.loads(built.stdout)["is_published"]


def test_a_database_that_refuses_the_rows_is_told_without_a_traceback(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction)
    assert shell.run("load", "--only", "sessions").returncode == 0
    with duckdb.connect(str(shell.folder / "ksef-load.duckdb")) as connection:
        connection.execute("alter table ksef_raw.sessions rename to kept")
        connection.execute("create view ksef_raw.sessions as from ksef_raw.kept")
    refused = shell.run("load", "--only", "sessions")
    assert refused.returncode == 1
    assert "error: ksef-load.duckdb: " in refused.stderr
    assert "Traceback" not in refused.stderr


def test_building_without_a_load_says_what_to_do(shell: Shell) -> None:
    refused = shell.run("build")
    assert refused.returncode == 1
    assert "run kseflow load first" in refused.stderr


def test_status_without_a_database_says_what_to_do(shell: Shell) -> None:
    refused = shell.run("status")
    assert refused.returncode == 1
    assert "run kseflow load first" in refused.stderr


def test_ctrl_c_stops_cleanly_and_keeps_what_was_read(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "production", "--speed", "1")
    shell.log_in(introduction)
    process = shell.start("load", "-v")
    assert process.stderr is not None
    for line in process.stderr:  # the minute's budget of /invoices is spent: now it waits
        if "waiting" in line and "sessionInvoiceList" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    with duckdb.connect(str(shell.folder / "ksef-load.duckdb")) as connection:
        (stored,) = connection.sql("select count(*) from ksef_raw.session_invoices").fetchall()
        assert stored[0] > 0


def test_loads_killed_at_any_moment_lose_and_double_nothing(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction, count=2)
    shell.environment["SOURCES__KSEF__EXPORTS_PER_HOUR"] = "20"
    shell.environment["SOURCES__KSEF__EXPORTS_FROM"] = "2026-11-10T00:00:00Z"
    dice = random.Random(7)
    for _ in range(5):
        process = shell.start("load", "--in-progress", "all")
        time.sleep(dice.uniform(1.0, 7.0))  # a kill at a random moment, not a wait for something
        process.kill()
        process.communicate()
    finished = shell.run("load", "--in-progress", "all", "--json")
    assert finished.returncode == 0, finished.stderr
    killed = contents(shell.folder / "ksef-load.duckdb")
    (shell.folder / "ksef-load.duckdb").rename(shell.folder / "killed.duckdb")
    assert shell.run("load", "--in-progress", "all").returncode == 0
    assert contents(shell.folder / "ksef-load.duckdb") == killed


def contents(database: Path) -> list[list[tuple[Any, ...]]]:
    per_load = {"invoice_metadata": ", package_reference_number"}
    with duckdb.connect(str(database), read_only=True) as connection:
        return [
            connection.sql(
                f"select * exclude (read_at{per_load.get(table, '')}) "
                f"from ksef_raw.{table} order by all"
            ).fetchall()
            for table in ("sessions", "session_invoices", "failed_invoices", "invoice_metadata")
        ]


def test_help_names_every_command(shell: Shell) -> None:
    told = shell.run("--help")
    assert told.returncode == 0
    for command in ("load", "status", "demo", "emulate"):
        assert command in told.stdout


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    assert shell.run("--version").stdout == f"kseflow {version('kseflow')}\n"


def test_packages_and_their_xml_are_loaded_from_a_running_emulator(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "30")
    shell.log_in(introduction)
    shell.environment["SOURCES__KSEF__EXPORTS_PER_HOUR"] = "2"
    arguments = ["--exports-from", "2026-11-15", "--subject-type", "Subject1", "--with-xml", "xml"]
    loaded = shell.run("load", "--only", "export_packages", *arguments)
    assert loaded.returncode == 0, loaded.stderr
    files = list((shell.folder / "xml").rglob("*.xml"))
    with duckdb.connect(str(shell.folder / "ksef-load.duckdb")) as connection:
        (packages,) = connection.sql(
            "select count(*), sum(metadata_count) from ksef_raw.export_packages"
        ).fetchall()
    assert packages[0] == 1
    assert len(files) == packages[1] > 10
    assert "exported to" in loaded.stdout


def test_receipts_are_saved_by_session_and_by_ksef_number(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction)
    assert shell.run("load", "--quiet").returncode == 0
    with duckdb.connect(str(shell.folder / "ksef-load.duckdb")) as connection:
        (known,) = connection.sql(
            "select session_reference_number, ksef_number from ksef_raw.session_invoices "
            "where permanent_storage_date is not null limit 1"
        ).fetchall()
    saved = shell.run("upo", "--session", known[0], "--ksef-number", known[1], "--out", "receipts")
    assert saved.returncode == 0, saved.stderr
    (path,) = (shell.folder / "receipts").iterdir()
    assert saved.stdout.strip() == f"receipts/{path.name}"
    assert known[1] in path.read_text()
    both = shell.run("upo", "--session", known[0], "--ksef-number", known[1], "--invoice", "x")
    assert both.returncode == 2
    unknown = shell.run("upo", "--session", "20261117-SO-0000000000-0000000000-00")
    assert unknown.returncode == 1
    assert "KSeF does not know this session" in unknown.stderr


def test_log_lines_are_json_or_silent_when_asked_for(shell: Shell) -> None:
    introduction = shell.emulate("--limits", "off", "--speed", "0")
    shell.log_in(introduction)
    loaded = shell.run("load", "--only", "sessions", "--log-json")
    lines = [json.loads(line) for line in loaded.stderr.splitlines()]
    assert {line.keys() == {"time", "level", "message"} for line in lines} == {True}
    assert any("sessions changed" in line["message"] for line in lines)
    assert shell.run("load", "--only", "sessions", "--quiet").stderr == ""


def test_configuration_that_cannot_be_read_is_told_without_a_traceback_or_its_values(
    shell: Shell,
) -> None:
    (shell.folder / ".dlt").mkdir()
    (shell.folder / ".dlt" / "config.toml").write_text("[sources.ksef\nnip = 1")
    broken = shell.run("load")
    assert (broken.returncode, "Traceback" in broken.stderr) == (1, False)
    assert "config.toml" in broken.stderr
    (shell.folder / ".dlt" / "config.toml").unlink()
    shell.environment["SOURCES__KSEF__EXPORTS_PER_HOUR"] = "secret"
    wrong = shell.run("load")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (1, False)
    assert "exports_per_hour is not of the kind it should be" in wrong.stderr
    assert "secret" not in wrong.stderr
