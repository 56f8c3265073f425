"""kseflow check: what it finds in the published file, and what it tells whom."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from kseflow.cli import app
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.watch.check import (
    NAMES,
    Thresholds,
    Verdict,
    check,
    configured_thresholds,
    line_of,
)
from kseflow.watch.finding import Finding, State
from kseflow.watch.questions import CHECKS, MINIMUM_COUNT
from kseflow.watch.webhook import SHOWN, WebhookFailed, post, text_of
from tests.published import LOADED_AT, NIPS, change, copy_published

DEFAULTS = Thresholds(
    {check.name: check.warning for check in CHECKS},
    {check.name: check.critical for check in CHECKS},
)
NOW = LOADED_AT + timedelta(minutes=30)
FIRST, SECOND = NIPS
SECRET = "T0PSECRET"
OF_FIRST = f"context_id = '{FIRST}'"
ONE_SESSION = f"""session_reference_number = (
    select min(session_reference_number) from marts.sessions where {OF_FIRST} and not is_open)"""


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    return copy_published(tmp_path, healthy=True)


def found(database: Path, **more: Any) -> Verdict:
    return check(database, now=NOW, thresholds=DEFAULTS, **more)


def value_of(finding: Finding) -> float | None:
    assert finding.measure
    return finding.measure.value


def of(verdict: Verdict, name: str, nip: str | None = FIRST) -> Finding:
    (finding,) = (
        f
        for f in verdict.findings
        if f.topic == name and (f.taxpayer is None or f.taxpayer.id == nip)
    )
    return finding


def test_a_healthy_copy_is_ok_in_every_check_of_every_taxpayer(healthy: Path) -> None:
    verdict = found(healthy)
    assert [str(problem) for problem in verdict.problems] == []
    assert verdict.state is State.OK
    assert len(verdict.findings) == 2 * (len(CHECKS) - 1) + 1
    assert verdict.summary == "KSEF OK: 41 checks of 2 taxpayers"


@pytest.mark.parametrize(
    ("name", "sql", "state", "told"),
    [
        (
            "load_age_hours",
            "update staging.stg_sync_log set ended_at = ended_at - interval 5 hours "
            f"where {OF_FIRST}",
            State.WARNING,
            "last loaded 5.",
        ),
        (
            "load_age_hours",
            f"update staging.stg_sync_log set ended_at = ended_at - interval 30 hours "
            f"where {OF_FIRST} and part = 'sessions_batch'",
            State.CRITICAL,
            "last loaded 30.",
        ),
        (
            "failure_rate",
            f"update marts.daily_outcomes set failed_count = 5 where {OF_FIRST}",
            State.WARNING,
            "5.0%, ",
        ),
        (
            "first_pass_rate",
            f"update marts.daily_outcomes set first_pass_count = 70 where {OF_FIRST}",
            State.CRITICAL,
            "70.0%, ",
        ),
        (
            "failure_trend",
            "update marts.anomalies set verdict = 'worse', sentence = 'It is getting worse.' "
            f"where {OF_FIRST} and kind = 'headline'",
            State.WARNING,
            "It is getting worse",
        ),
        (
            "odd_rows",
            "insert into marts.oddities select 'Nip', context_id, 'rows_lost', true, 1, 4, "
            f"session_reference_number from marts.sessions where {ONE_SESSION}",
            State.WARNING,
            "contradict each other: 4 in rows_lost (2026",
        ),
        (
            "left_out",
            "update published set left_out = json_array(json_object('context_type', 'Nip', "
            f"'context_id', '{FIRST}', 'reason', 'test so_and_so'))",
            State.CRITICAL,
            "break a promise of the marts: test so_and_so",
        ),
        (
            "load_age_hours",
            "update staging.stg_sync_log set ended_at = ended_at + interval 600 hours "
            f"where {OF_FIRST}",
            State.CRITICAL,
            "last loaded -599.5 hours ago, which is in the future",
        ),
        (
            "unlisted_days",
            "update staging.stg_sync_log set reaches_back_to = '2025-09-11' "
            f"where {OF_FIRST} and part = 'sessions_batch'",
            State.WARNING,
            "reaches back only to 2025-09-11: 10 days of KSeF's history before it are not here",
        ),
        (
            "troubled_readings",
            f"update staging.stg_invoice_reads set error = 'HTTP 500' where {ONE_SESSION}",
            State.WARNING,
            "could not be read the last time: 1; the last trouble was: HTTP 500",
        ),
        (
            "credential_days_left",
            "update staging.stg_sync_log set credential_ends_at = ended_at + interval 8 days "
            f"where {OF_FIRST} and part = 'login'",
            State.WARNING,
            "the token ends on 2026-11-25, in 8.0 days, made 319 days ago",
        ),
        (
            "credential_days_left",
            "update staging.stg_sync_log set credential_ends_at = ended_at - interval 1 day, "
            f"credential = 'certificate' where {OF_FIRST} and part = 'login'",
            State.CRITICAL,
            "the certificate ends on 2026-11-16, in -1.0 days",
        ),
        (
            "api_warnings",
            "insert into marts.api_warnings select 'Nip', context_id, 'other', 'wait', "
            "last_load_at - interval 1 hour, last_load_at, 3, 1 from marts.taxpayers "
            f"where {OF_FIRST}",
            State.WARNING,
            "KSeF warned with 1 texts, since 2026-11-17; the last one: wait",
        ),
        (
            "stuck_sessions",
            f"update marts.sessions set is_stuck = true where {ONE_SESSION}",
            State.WARNING,
            "hang in KSeF: 1, ",
        ),
        (
            "failed_sessions",
            f"update marts.sessions set is_failed_as_whole = true, outcome = 'rejected' "
            f"where {ONE_SESSION}",
            State.WARNING,
            "failed as a whole, none of their invoices got in: 1; the oldest is 2026",
        ),
        (
            "exports_to_catch_up",
            f"update marts.packages set exports_to_catch_up = 7 "
            f"where {OF_FIRST} and subject_type = 'Subject2'",
            State.WARNING,
            "catch up, about: 7 as Subject2",
        ),
        (
            "package_gaps",
            "update marts.package_windows set relation = 'gap', difference_seconds = 90, "
            "previous_next_from_text = cast(requested_from - interval 90 seconds as text) "
            f"where {OF_FIRST} and subject_type = 'Subject1'",
            State.WARNING,
            "gaps between the windows of packages: 1 as Subject1, 90.0 s together",
        ),
    ],
)
def test_each_problem_is_a_finding_of_its_taxpayer_alone(
    healthy: Path, name: str, sql: str, state: State, told: str
) -> None:
    change(healthy, sql)
    verdict = found(healthy)
    assert [problem.topic for problem in verdict.problems] == [name]
    finding = of(verdict, name)
    assert finding.state is verdict.state is state
    assert told in finding.message
    assert f"({state.name.lower()} at " in finding.message or "in the future" in finding.message
    assert line_of(finding).startswith(f"{state.name} NIP {FIRST} {name}: ")
    assert line_of(finding).endswith(f"{finding.remedy}.")


def test_rates_are_of_summed_counts_of_seven_warsaw_days(tmp_path: Path) -> None:
    database = copy_published(tmp_path)
    with duckdb.connect(str(database), read_only=True) as connection:
        failed, decided = connection.execute(
            "select sum(failed_count), sum(accepted_count + failed_count) "
            "from marts.sessions where context_id = ? and not is_open",
            [SECOND],
        ).fetchall()[0]
    finding = of(found(database), "failure_rate", SECOND)
    assert value_of(finding) == failed / decided
    assert f"{failed:,} of {decided:,} invoices of the last 7 days failed" in finding.message


def test_days_before_the_last_seven_are_in_no_rate(healthy: Path) -> None:
    change(
        healthy,
        "update marts.daily_outcomes set failed_count = decided_count "
        "where day < (select max(day) from marts.daily_outcomes);"
        "update marts.as_of set as_of_day = as_of_day + 6",
    )
    assert value_of(of(found(healthy), "failure_rate")) == 0


def test_a_rate_of_few_invoices_is_not_judged_and_says_so(healthy: Path) -> None:
    change(
        healthy,
        f"update marts.daily_outcomes set failed_count = 1, decided_count = 1 where {OF_FIRST};"
        f"delete from marts.daily_outcomes where context_id = '{SECOND}'",
    )
    verdict = found(healthy)
    few, none = of(verdict, "failure_rate"), of(verdict, "failure_rate", SECOND)
    assert few.state is none.state is State.OK
    assert value_of(few) is None
    assert f"of at least {MINIMUM_COUNT} invoices" in few.message
    assert none.message == f"not judged: 0 of at least {MINIMUM_COUNT} invoices"


def test_a_login_of_which_nobody_knows_the_end_is_not_judged_and_says_so(healthy: Path) -> None:
    change(
        healthy,
        f"update staging.stg_sync_log set credential_ends_at = null where {OF_FIRST};"
        f"delete from staging.stg_sync_log where context_id = '{SECOND}' and part = 'login'",
    )
    for nip in (FIRST, SECOND):
        finding = of(found(healthy), "credential_days_left", nip)
        assert finding.state is State.OK
        assert value_of(finding) is None
        assert "nobody knows when the login ends" in finding.message


def test_unresolved_failures_are_counted_and_the_oldest_has_its_age(tmp_path: Path) -> None:
    database = copy_published(tmp_path)
    change(
        database,
        "update marts.unresolved_failures set age_days = 31 where invoice_reference_number = "
        f"(select min(invoice_reference_number) from marts.unresolved_failures where {OF_FIRST})",
    )
    with duckdb.connect(str(database), read_only=True) as connection:
        count, oldest = connection.execute(
            "select sum(invoice_count), max(age_days) from marts.unresolved_failures "
            f"where {OF_FIRST} and age_days < 30"
        ).fetchall()[0]
    verdict = found(database)
    assert value_of(of(verdict, "unresolved_failures")) == count > 0
    assert f"{count:,} (older ones: 1)" in of(verdict, "unresolved_failures").message
    assert value_of(of(verdict, "unresolved_age_days")) == oldest


def test_an_online_session_closed_without_an_invoice_is_no_failed_session(healthy: Path) -> None:
    change(
        healthy,
        "update marts.sessions set is_failed_as_whole = true, outcome = 'cancelled', "
        f"is_closed_empty = true where {ONE_SESSION}",
    )
    assert of(found(healthy), "failed_sessions").state is State.OK


@pytest.mark.parametrize(
    ("hours", "cause", "expected"),
    [
        (1, "not_read_yet", 0),
        (5, "not_read_yet", 1),
        (5, "session_open", 0),
        (5, "session_failed_as_whole", 0),
    ],
)
def test_a_session_is_incomplete_only_when_it_should_have_been_read(
    healthy: Path, hours: int, cause: str, expected: int
) -> None:
    change(
        healthy,
        "insert into marts.session_reconciliation by name "
        "select context_type, context_id, session_reference_number, session_type, counter, "
        f"9 as difference_count, '{cause}' as likely_cause, as_of - interval {hours} hours "
        "as updated_at, 0 as stored_count from marts.sessions, marts.as_of, "
        f"(values ('total'), ('accepted')) as counters (counter) where {ONE_SESSION}",
    )
    verdict = found(healthy)
    assert value_of(of(verdict, "incomplete_sessions")) == expected
    assert value_of(of(verdict, "missing_invoices")) == 9 * expected
    assert (cause in of(verdict, "incomplete_sessions").message) == bool(expected)


@pytest.mark.parametrize(("reaches", "expected"), [("next_from", False), ("gap_from", True)])
def test_a_gap_is_none_when_another_window_spans_all_of_it(
    healthy: Path, reaches: str, expected: Any
) -> None:
    change(
        healthy,
        "update marts.package_windows set relation = 'gap', difference_seconds = 90, "
        "previous_next_from_text = cast(requested_from - interval 90 seconds as text);"
        "insert into marts.package_windows by name select windows.* replace "
        f"(requested_from - interval 1 day as requested_from, {reaches} as next_from, "
        "'first' as relation, package_reference_number || '2' as package_reference_number) "
        "from marts.package_windows as windows, "
        "lateral (select requested_from - interval 90 seconds as gap_from)",
    )
    assert bool(value_of(of(found(healthy), "package_gaps"))) is expected


def test_a_taxpayer_whose_login_fails_is_found_with_the_reason(healthy: Path) -> None:
    change(
        healthy,
        f"delete from staging.stg_sync_log where {OF_FIRST} and part != 'login';"
        "update staging.stg_sync_log set outcome = 'failed', message = 'Token\n {unieważniony}', "
        f"started_at = started_at - interval 4 hours where {OF_FIRST}",
    )
    finding = of(found(healthy), "load_age_hours")
    assert finding.state is State.WARNING
    assert "the last trouble was: Token {unieważniony}" in finding.message


def test_trouble_that_a_later_load_overcame_is_not_told(healthy: Path) -> None:
    change(
        healthy,
        "insert into staging.stg_sync_log by name select * replace ('failed' as outcome, "
        "'old trouble' as message, run_id || 'x' as run_id, ended_at - interval 2 hours as "
        "ended_at) from staging.stg_sync_log where part = 'login';"
        "update staging.stg_sync_log set ended_at = ended_at - interval 5 hours",
    )
    finding = of(found(healthy), "load_age_hours")
    assert finding.state is State.WARNING
    assert "old trouble" not in finding.message


def test_a_published_file_that_grows_old_is_found_once(healthy: Path) -> None:
    verdict = check(healthy, now=NOW + timedelta(hours=30), thresholds=DEFAULTS)
    (finding,) = (f for f in verdict.findings if f.topic == "published_age_hours")
    assert finding.state is State.CRITICAL
    assert value_of(finding) == pytest.approx(30.5)
    assert line_of(finding).startswith("CRITICAL file published_age_hours: ")


def test_only_the_named_taxpayers_are_judged(healthy: Path) -> None:
    verdict = found(healthy, nips=[SECOND])
    assert {f.taxpayer.id for f in verdict.findings if f.taxpayer} == {SECOND}
    with pytest.raises(WarehouseError, match="no such taxpayer"):
        found(healthy, nips=["1111111111"])


def test_what_cannot_be_checked_says_what_to_do(tmp_path: Path, healthy: Path) -> None:
    with pytest.raises(WarehouseError, match="run kseflow load --build first"):
        found(tmp_path / "nowhere.duckdb")
    with pytest.raises(WarehouseError, match=r"lacks marts .* run kseflow build"):
        found(tmp_path / "ksef-load.duckdb")
    change(healthy, "drop table marts.package_windows")
    with pytest.raises(WarehouseError, match=r"lacks marts .* run kseflow build"):
        found(healthy)
    (tmp_path / "text.duckdb").write_text("no database")
    with pytest.raises(WarehouseError, match="cannot be read"):
        found(tmp_path / "text.duckdb")


def test_thresholds_come_from_options_before_the_environment_before_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHECK__WARNING__FAILURE_RATE", "0.11")
    monkeypatch.setenv("CHECK__CRITICAL__STUCK_SESSIONS", "3")
    thresholds = configured_thresholds(
        ["load_age_hours=7"], ["failure_rate=0.5", "failure_rate=0.6"]
    )
    assert thresholds.warning["failure_rate"] == 0.11
    assert thresholds.warning["load_age_hours"] == 7
    assert thresholds.critical["stuck_sessions"] == 3
    assert thresholds.critical["failure_rate"] == 0.6
    assert thresholds.critical["load_age_hours"] == 24


@pytest.mark.parametrize(
    "option", ["failur_rate=1", "failure_rate=much", "failure_rate", "x", "failure_rate=nan"]
)
def test_a_threshold_that_is_none_is_refused_with_all_names(option: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured_thresholds([option], [])
    assert all(name in str(refused.value) for name in NAMES)


def test_an_unknown_name_in_the_environment_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK__WARNING__FAILUR_RATE", "0.11")
    with pytest.raises(ConfigurationError, match="'failur_rate': there is no such check"):
        configured_thresholds()


def test_infinity_turns_any_threshold_off(tmp_path: Path) -> None:
    database = copy_published(tmp_path)
    off = [f"{name}=inf" for name in NAMES]
    verdict = check(
        database, now=NOW + timedelta(days=99), thresholds=configured_thresholds(off, off)
    )
    assert verdict.state is State.OK


# The webhook


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Take webhooks; yield the URL, with a secret in it, and what was received."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append({"path": self.path, "json": json.loads(body)})
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/services/{SECRET}", received
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_is_sent_as_slack_takes_it_and_its_url_is_logged_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with receiver() as (url, received):
        post(url, "5 < 6 & 7")
    assert received == [{"path": f"/services/{SECRET}", "json": {"text": "5 &lt; 6 &amp; 7"}}]
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/T0PSECRET", "T0PSECRET", "ftp://x/T0PSECRET", "http://[T0PSECRET"]
)
def test_a_webhook_that_cannot_be_reached_is_told_without_its_url(url: str) -> None:
    with pytest.raises(WebhookFailed) as failed:
        post(url, "text")
    assert SECRET not in str(failed.value)
    assert "127.0.0.1" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_a_message_to_a_chat_is_short(tmp_path: Path) -> None:
    database = copy_published(tmp_path)
    always = [f"{check.name}=0" for check in CHECKS if not check.is_low_bad]
    verdict = check(
        database, now=NOW, thresholds=configured_thresholds(always, ["first_pass_rate=1"])
    )
    lines = text_of(verdict).splitlines()
    assert lines[0] == verdict.summary
    assert len(lines) == SHOWN + 2
    assert lines[-1] == f"and {len(verdict.problems) - SHOWN} more: run kseflow check"


# The command, as monitors run it

AGES_OFF = [
    f"--{level}={name}_age_hours=inf"
    for level in ("warning", "critical")
    for name in ("load", "published")
]


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOURCES__", "CHECK__"))}
    return subprocess.run(
        [sys.executable, "-m", "kseflow.cli", "check", *arguments],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_all_is_well_exits_0_and_sends_nothing(healthy: Path) -> None:
    with receiver() as (url, received):
        told = run(healthy.parent, *AGES_OFF, CHECK__WEBHOOK=url)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[0] == "KSEF OK: 41 checks of 2 taxpayers"
    assert len(told.stdout.splitlines()) < len(CHECKS) + 10  # OK lines are compact
    assert received == []


def test_a_warning_exits_1_and_reaches_the_webhook_from_secrets_toml(healthy: Path) -> None:
    change(healthy, f"update marts.sessions set is_stuck = true where {ONE_SESSION}")
    (healthy.parent / ".dlt").mkdir()
    with receiver() as (url, received):
        (healthy.parent / ".dlt" / "secrets.toml").write_text(f'[check]\nwebhook = "{url}"\n')
        told = run(healthy.parent, *AGES_OFF)
    assert told.returncode == 1, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == "KSEF WARNING: 1 warning: stuck_sessions"
    assert lines[1].startswith(f"WARNING NIP {FIRST} stuck_sessions: sessions that hang in KSeF: 1")
    assert [message["json"]["text"].splitlines() for message in received] == [
        [lines[0], f"• {lines[1]}"]
    ]
    assert SECRET not in told.stdout + told.stderr


def test_critical_exits_2_and_is_json_for_machines_though_the_webhook_fails(healthy: Path) -> None:
    change(healthy, f"update marts.daily_outcomes set failed_count = 30 where {OF_FIRST}")
    (healthy.parent / ".dlt").mkdir()
    (healthy.parent / ".dlt" / "config.toml").write_text("[check.critical]\nfailure_rate = 0.3\n")
    with receiver(status=500) as (url, received):
        told = run(healthy.parent, "--json", "--webhook", url, "--verbose", *AGES_OFF)
    assert told.returncode == 2, told.stderr
    assert len(received) == 1
    assert "warning: the webhook answered HTTP 500" in told.stderr
    assert SECRET not in told.stdout + told.stderr
    document = json.loads(told.stdout)
    assert document["state"] == "CRITICAL"
    (bad,) = (finding for finding in document["findings"] if finding["state"] != "OK")
    assert (bad["topic"], bad["context_id"], bad["value"]) == ("failure_rate", FIRST, 0.3)
    assert (bad["warning"], bad["critical"]) == (0.05, 0.3)
    ages = [f for f in document["findings"] if f["topic"] == "load_age_hours"]
    assert [f["critical"] for f in ages] == [None, None]


def test_what_cannot_be_checked_exits_3_with_one_line_and_reaches_the_webhook(
    tmp_path: Path,
) -> None:
    with receiver() as (url, received):
        told = run(tmp_path, "--webhook", url)
    assert told.returncode == 3
    assert told.stdout == (
        "KSEF UNKNOWN: ksef.duckdb: no such file; run kseflow load --build first\n"
    )
    assert [message["json"]["text"] for message in received] == [told.stdout.strip()]


def test_what_cannot_be_checked_is_json_as_well(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["check", "--json", "--database", str(tmp_path / "none.duckdb")])
    assert told.exit_code == 3
    assert json.loads(told.stdout)["state"] == "UNKNOWN"


def test_wrong_options_are_unknown_to_a_monitor_and_no_alarm() -> None:
    told = CliRunner(env={"COLUMNS": "1000"}).invoke(app, ["check", "--warning", "failur_rate=1"])
    assert told.exit_code == 3
    assert "there is no such check; use load_age_hours" in " ".join(told.stderr.split())
